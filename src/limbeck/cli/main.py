"""The ``limbeck`` command. Exit status: 0, 1 for a run that failed or was stopped, 2 for wrong input."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from limbeck.core.errors import InputError, LimbeckError, unknown

__all__ = ["VERBS", "main"]

VERBS = {
    "demo": ("limbeck.cli.demo", "Demo"),
    "list": ("limbeck.cli.listing", "List"),
    "show": ("limbeck.cli.listing", "Show"),
    "plan": ("limbeck.cli.plan", "Plan"),
    "distill": ("limbeck.cli.distill", "Distill"),
    "teacher": ("limbeck.cli.teacher", "TeacherVerb"),
    "experts": ("limbeck.cli.experts", "ExpertsVerb"),
    "evaluate": ("limbeck.cli.evaluate", "Evaluate"),
    "relabel": ("limbeck.cli.relabel", "Relabel"),
    "compare": ("limbeck.cli.compare", "Compare"),
    "continual": ("limbeck.cli.continual", "Continual"),
    "export": ("limbeck.cli.files", "Export"),
    "report": ("limbeck.cli.files", "Report"),
}
"""Verbs and the class that holds their flags; a verb's module is imported when it is used."""

_RECIPE_VERBS = ("show", "plan", "distill", "teacher", "experts", "compare", "continual")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        arguments: without the program's name; those of the process by default.

    Returns:
        The exit status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if not words or words[0] in ("-h", "--help"):
            print(_overview())
            return 0 if words else 2
        if words[0] == "--version":
            print(_version())
            return 0
        return _run(words[0], words[1:])
    except InputError as error:
        print(f"limbeck: {error}", file=sys.stderr)
        return 2
    except LimbeckError as error:
        print(f"limbeck: {error}", file=sys.stderr)
        return 1
    except SystemExit as ended:  # tyro, after its help or a message about wrong flags
        return int(ended.code or 0)
    except BrokenPipeError:  # the reader of our output, such as 'head', has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"limbeck: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("limbeck: stopped", file=sys.stderr)
        return 1


def _run(verb: str, rest: list[str]) -> int:
    import tyro

    from limbeck.cli.overrides import split

    if verb not in VERBS:
        raise unknown("command", verb, VERBS)
    module, name = VERBS[verb]
    kind = getattr(importlib.import_module(module), name)
    swaps: list[str] = []
    fields: list[str] = []
    if verb in _RECIPE_VERBS:
        rest, swaps, fields = split(rest)
    parsed = tyro.cli(kind, args=rest, prog=f"limbeck {verb}")
    return int(parsed.run(swaps, fields))


def _overview() -> str:
    lines = ["usage: limbeck COMMAND ...", "", "Dataset distillation for PyTorch.", ""]
    for verb, (module, name) in VERBS.items():
        kind = getattr(importlib.import_module(module), name)
        lines.append(f"  {verb:<10}{(kind.__doc__ or '').strip().partition(chr(10))[0]}")
    return "\n".join([*lines, "", "'limbeck COMMAND --help' tells more."])


def _version() -> str:
    from limbeck.engine.identity import versions

    return f"limbeck {versions()['limbeck']}"
