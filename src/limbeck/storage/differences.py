"""Where two descriptions differ, for sentences that refuse one in place of the other."""

from __future__ import annotations

from typing import Any

__all__ = ["first_difference"]

_LONGEST = 60
"""Letters of a value that are shown."""


def first_difference(there: Any, asked: Any, where: str = "") -> str:
    """Where two plain trees differ first, in words; empty when they are equal.

    Args:
        there: what is in a file.
        asked: what is asked for now; its order decides what comes first.
        where: how errors call this place, by dotted names.
    """
    if isinstance(there, dict) and isinstance(asked, dict):
        for key in [*asked, *(key for key in there if key not in asked)]:
            difference = first_difference(there.get(key), asked.get(key), f"{where}.{key}" if where else key)
            if difference:
                return difference
        return ""
    return "" if there == asked else f"its {where} is {_brief(there)}, now {_brief(asked)} is asked for"


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
