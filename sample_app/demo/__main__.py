"""``python -m eventbus.sample_app.demo`` is ``eventbus demo``."""

from __future__ import annotations

import sys

from eventbus.cli import main

if __name__ == "__main__":
    main(["demo", *sys.argv[1:]])
