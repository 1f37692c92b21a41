"""Where handlers run: the pool port and its adapters."""

from __future__ import annotations

from eventbus.errors import ConfigurationError

from .port import Pool

#: Names as the command line takes them.
POOLS = ("threads", "solo")


def make_pool(name: str, concurrency: int) -> Pool:
    """The pool called `name`.

    Raises
    ------
    ConfigurationError
        There is no pool of that name.
    """
    if name == "solo":
        from .solo import SoloPool

        return SoloPool()
    if name == "threads":
        from .threads import ThreadPool

        return ThreadPool(concurrency)
    raise ConfigurationError(f"there is no pool {name!r}; pools: {', '.join(POOLS)}")
