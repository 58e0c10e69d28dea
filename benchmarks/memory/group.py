"""Memory of a group of DWA on a made-up folder of 1,000 classes and 20,000 JPEGs of 224 pixels.

``python -m benchmarks.memory.group`` writes the folder (or takes the one at ``--folder``). One process loads it and
learns the first group of preset ``imagenet`` (100 classes, ResNet-18 of torchvision with random weights) for two inner
steps: initial images, adjustment of the weights, cross-entropy and statistics, Adam. Another does what the network
costs by itself: the same passes on random images of the same shape. The figures are printed as JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

import limbeck as lb
from benchmarks.memory.made_up import write_jpegs
from benchmarks.memory.streaming import MB, peak
from limbeck.core.recipe import Recipe
from limbeck.engine.distill import make_context
from limbeck.engine.groups import chains
from limbeck.engine.loop import Loop
from limbeck.methods.dwa import dwa

__all__ = ["main", "measure", "run"]

Kind = Literal["group", "network"]


def recipe(classes: int) -> Recipe:
    """DWA on ImageNet for two steps, with a network that nobody has trained."""
    return dwa("imagenet").with_(pool__teacher__weights="random", curriculum__steps=2, curriculum__classes=classes)


def measure(kind: Kind, folder: Path, size: int, classes: int) -> dict[str, Any]:
    """Peak memory of this process after its imports and at the end, and seconds.

    Args:
        kind: the group itself, or its network on images that are made up.
        folder: the data.
        size: side of the images.
        classes: of the group.
    """
    import PIL.Image  # noqa: F401
    import torchvision.models  # noqa: F401

    settings = lb.Settings(device="cpu", compile="off", progress="quiet")
    imports, began = peak(), time.perf_counter()
    data = lb.data.load(folder, image_size=size, channels="rgb", stream="on", cache=False, normalization="measured")
    context = make_context(recipe(classes), data, 1, 0, settings)
    ((group, *_), *_) = chains(recipe(classes), context)
    if kind == "group":
        loop = Loop(recipe(classes), replace(context, group=group))
        state = loop.start()
        for _ in range(loop.length()):
            state, _ = loop.step(state)
        assert state.stored.shape == (classes, 1, 3, size, size)
    else:
        network = context.network(recipe(classes).pool.teacher.network)  # type: ignore[union-attr]
        weights = network.initial(context.streams("network alone"))
        leaves = [weights[name].requires_grad_() for name in network.parameter_names()]
        images, targets = torch.randn(classes, 3, size, size), torch.arange(classes)
        for _ in range(2):
            loss = torch.nn.functional.cross_entropy(network(weights, images, train=False), targets)
            torch.autograd.grad(loss, leaves)
    return {
        "imports_mb": round(imports / MB),
        "peak_mb": round((peak() - imports) / MB),
        "seconds": round(time.perf_counter() - began, 1),
    }


def run(kind: Kind, folder: Path, size: int, classes: int) -> dict[str, Any]:
    """`measure` in a process of its own, whose peak is not that of anything else."""
    command = [sys.executable, "-m", "benchmarks.memory.group", "--measure", kind, "--folder", str(folder)]
    command += ["--size", str(size), "--group", str(classes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Write the folder if need be, measure both, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="data; made up if it is not there, and removed without this flag")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--each", type=int, default=20, help="pictures of each class")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--group", type=int, default=100, help="classes of the group")
    parser.add_argument("--measure", choices=("group", "network"), help="only measure, in this process")
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure(asked.measure, asked.folder, asked.size, asked.group)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary) / "made-up"
        if not folder.exists():
            write_jpegs(folder / "train", asked.classes, asked.each, asked.size)
        found = {kind: run(kind, folder, asked.size, asked.group) for kind in ("group", "network")}  # type: ignore[arg-type]
        beyond = found["group"]["peak_mb"] - found["network"]["peak_mb"]
        print(json.dumps({**found, "beyond_the_network_mb": beyond}, indent=2))


if __name__ == "__main__":
    main()
