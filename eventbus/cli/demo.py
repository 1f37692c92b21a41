"""``eventbus demo``: the sample shop, which brings its own command."""

from eventbus.sample_app.demo import command

__all__ = ["command"]
