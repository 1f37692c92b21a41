"""What runs in a process of its own; see `benchmarks.process`."""
