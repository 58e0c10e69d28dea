"""Where results are kept that other runs may use again."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_root"]


def cache_root() -> Path:
    """``$LIMBECK_CACHE``, or ``~/.cache/limbeck`` where the variable is not set; all below may be deleted any time."""
    chosen = os.environ.get("LIMBECK_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "limbeck"
