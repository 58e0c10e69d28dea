"""The public inventory: names, methods and parts with their fields.

``python -m tests.api_surface`` writes it anew. Fields are listed with their types, so that a change of either
shows.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("api_surface.json")


def surface() -> dict[str, Any]:
    """What `limbeck` itself promises; methods and parts of other installed packages are left out."""
    import limbeck
    from limbeck import registry
    from limbeck.core.contracts import FACTS
    from limbeck.core.recipe import SLOTS

    methods = {
        name: {
            "arguments": sorted(inspect.signature(entry.make).parameters),
            "baseline": entry.baseline,
            "presets": sorted(entry.presets),
        }
        for name, entry in registry.methods().items()
        if entry.make.__module__.startswith("limbeck.")
    }
    parts = {
        name: {
            "slot": kind.slot,
            "fields": {field.name: _type(field.type) for field in dataclasses.fields(kind)},
        }
        for name, kind in registry.parts().items()
        if kind.__module__.startswith("limbeck.")
    }
    return {
        "names": sorted(limbeck.__all__),
        "slots": sorted(SLOTS),
        "facts": sorted(FACTS),
        "methods": dict(sorted(methods.items())),
        "parts": dict(sorted(parts.items())),
    }


def _type(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def text() -> str:
    """The inventory as it stands in the file."""
    return json.dumps(surface(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
