"""The prefork pool: a parent that keeps child processes running, each a whole worker.

`parent.Prefork` is what the command line runs; `child` is what runs in a process. They talk over a
`channel`; `starting` makes the processes.
"""
