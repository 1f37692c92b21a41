"""What runs: the dispatcher and the worker (installed as ``eventbus.workers``)."""
