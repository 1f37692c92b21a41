"""How a handler is run: its parameters, its event loop, its time limits."""
