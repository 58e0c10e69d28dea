"""Distil the bundled digits into one stored image per class, and compare with random images of equal size."""

from __future__ import annotations

import limbeck as lb
from limbeck.methods.dream import dream
from limbeck.methods.random import random


def main() -> None:
    """Distil, evaluate both sets under one protocol, print."""
    data = lb.data.load("digits")
    protocol = lb.protocols.limbeck(networks=("convnet3:width=32",), data="digits", updates=300)
    short = dream("digits").with_(curriculum__iterations=1)
    for recipe in (random(), short):
        distilled = lb.distill(recipe, data, ipc=1, seed=0)
        scores = lb.evaluate(distilled, data.require_test(), protocol)
        print(f"{recipe.name}: {100 * scores.mean:.1f} % ({distilled.bytes} bytes of pixels)")


if __name__ == "__main__":
    main()
