"""BibTeX of what a recipe is made of, from the package's own ``references.bib``."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from importlib.resources import files

__all__ = ["bibtex", "keys"]


def bibtex(keys: Iterable[str]) -> str:
    """The entries of these keys, each once and in this order.

    A key that the package has no entry for (other packages bring methods of their own) becomes a comment that says so.

    Args:
        keys: bib keys, for example ``recipe.cite()``.
    """
    entries = _entries()
    return "\n\n".join(entries.get(key, f"% {_one_line(key)}: no entry") for key in dict.fromkeys(keys))


def keys() -> tuple[str, ...]:
    """Keys of all entries, in the order of the file."""
    return tuple(_entries())


@functools.cache
def _entries() -> dict[str, str]:
    """Entries by key, as they are written."""
    text = (files("limbeck.reports") / "references.bib").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for entry in re.split(r"^(?=@)", text, flags=re.MULTILINE):
        if head := re.match(r"@\w+\{\s*([^,\s]+)\s*,", entry):
            found[head[1]] = entry.strip()
    return found


def _one_line(key: str) -> str:
    return " ".join(key.split())
