"""Errors that a user may meet: one sentence that names the cause and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["InputError", "Interrupted", "LimbeckError", "RunError", "unknown"]


class LimbeckError(Exception):
    """Base of every error that limbeck raises on purpose."""


class InputError(LimbeckError, ValueError):
    """What was given is wrong; raised before any long work starts (exit status 2)."""


class RunError(LimbeckError, RuntimeError):
    """A run that had started could not be finished (exit status 1)."""


class Interrupted(RunError):
    """A run was asked to stop; its checkpoint is on disk and the same call resumes it."""


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not known, with the nearest known one or the list of all.

    Args:
        kind: what was looked up, for example ``"method"``.
        name: the name that was given.
        known: the names that exist.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names) or 'none'}."
    return InputError(f"unknown {kind} '{name}'; {hint}")
