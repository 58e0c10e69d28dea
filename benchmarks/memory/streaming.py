"""Memory of a streamed data set: a made-up folder of 1,000 classes and 20,000 JPEGs of 224 pixels.

``python -m benchmarks.memory.streaming`` writes the folder (or takes the one at ``--folder``), then loads it in a
process of its own and reads one image of each of 100 classes; the figures are printed as JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.memory.made_up import write_jpegs

__all__ = ["main", "measure", "peak", "run"]

MB = 1_000_000
IMAGES_OF = 100
"""Classes that give one image each."""


def measure(folder: Path, size: int) -> dict[str, Any]:
    """Peak memory of this process after its imports, after loading, and after reading images; and seconds.

    Args:
        folder: the data.
        size: side of the images.
    """
    # Decoders are imported when they are first used, and belong to the imports.
    import PIL.Image  # noqa: F401
    import torch

    import limbeck as lb

    imports = peak()
    began = time.perf_counter()
    data = lb.data.load(folder, image_size=size, channels="rgb", stream="on", cache=False)
    loaded, seconds = peak(), time.perf_counter() - began
    began = time.perf_counter()
    rows = torch.tensor([int(data.train.class_rows(label)[0]) for label in range(min(IMAGES_OF, data.spec.classes))])
    images = data.train.images(rows)
    return {
        "classes": data.spec.classes,
        "training_images": len(data.train),
        "images_read": len(images),
        "imports_mb": round(imports / MB),
        "loading_mb": round((loaded - imports) / MB),
        "reading_mb": round((peak() - loaded) / MB),
        "decoded_would_be_mb": round(len(data.train) * images[0].numel() / MB),
        "loading_seconds": round(seconds, 1),
        "reading_seconds": round(time.perf_counter() - began, 2),
    }


def run(folder: Path, size: int) -> dict[str, Any]:
    """`measure` in a process of its own, whose peak is not that of anything else."""
    command = [sys.executable, "-m", "benchmarks.memory.streaming", "--measure", "--folder", str(folder)]
    done = subprocess.run([*command, "--size", str(size)], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Write the folder if need be, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="data; made up if it is not there, and removed without this flag")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--each", type=int, default=20, help="pictures of each class")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--measure", action="store_true", help="only measure, in this process")
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure(asked.folder, asked.size)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary) / "made-up"
        began = time.perf_counter()
        if not folder.exists():
            write_jpegs(folder / "train", asked.classes, asked.each, asked.size)
        written = sum(file.stat().st_size for file in folder.rglob("*.JPEG"))
        facts = {"folder_mb": round(written / MB), "writing_seconds": round(time.perf_counter() - began, 1)}
        print(json.dumps(facts | run(folder, asked.size), indent=2))


def peak() -> int:
    """Largest memory of this process so far, in bytes; of a Mac these are bytes already, elsewhere kilobytes."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    main()
