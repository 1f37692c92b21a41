"""What eventbus costs, measured beside others on the same machine at the same time.

    python -m benchmarks                    everything, about ten minutes
    python -m benchmarks relay --rounds 9
    python -m benchmarks --short            in CI: two minutes, enough to see a collapse

Each case is one module of `benchmarks.cases`. Its contestants run one after the other, A B C A B C,
each in a process of its own (`benchmarks.contestants`) against private servers, so that whatever
else the machine does meets all of them alike: the ratios count, not the figures.
"""
