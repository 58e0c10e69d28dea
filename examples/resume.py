"""The same call twice: the second finds the finished run in its folder and reads it back."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import limbeck as lb
from limbeck.methods.dream import dream


def main(folder: Path) -> None:
    """Run into a folder; a run that was stopped half-way would be continued by the second call."""
    data = lb.data.load("digits")
    recipe = dream("digits").with_(curriculum__iterations=1, curriculum__steps=5)
    first = lb.distill(recipe, data, ipc=1, seed=0, out=folder)
    second = lb.distill(recipe, data, ipc=1, seed=0, out=folder)
    print("equal to the bit:", bool((first.stored == second.stored).all()))
    print(*sorted(path.name for path in folder.iterdir()), sep="\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary) / "run")
