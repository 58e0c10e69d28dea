"""Small data sets with known contents, for the tests of this folder."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from limbeck.data import Labelled, LabelledSplits
from limbeck.formats.wav import wav_bytes

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def shared(name: str) -> Path:
    """A folder of real data beside the repository; skips the test where it is absent."""
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs the real data set ../shared/data/{name} beside the repository")
    return folder


def plane(value: int, shape: tuple[int, ...] = (4, 5)) -> np.ndarray[Any, Any]:
    """An image that differs by ``value``: rising values that start there, modulo 256."""
    return ((np.arange(int(np.prod(shape))).reshape(shape) + value) % 256).astype(np.uint8)


def encode(array: np.ndarray[Any, Any], kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def write_picture(path: Path, array: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(array))


def write_classes(folder: Path, counts: dict[str, int], start: int = 0) -> None:
    """``counts[name]`` pictures in ``folder/name``: the first of all is ``plane(start)``, and so on."""
    for name, count in counts.items():
        for number in range(count):
            write_picture(folder / name / f"{number:03d}.png", plane(start))
            start += 1


def write_parquet(
    path: Path,
    pictures: list[bytes | None],
    labels: list[Any],
    *,
    features: dict[str, Any] | None = None,
    columns: tuple[str, str] = ("image", "label"),
    struct: bool = True,
) -> None:
    """A file in the Hugging Face layout; ``features`` become its note on column types."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": one, "path": None} for one in pictures] if struct else pictures
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.table({columns[0]: pyarrow.array(images, kind if struct else pyarrow.binary()), columns[1]: labels})
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(table, path)


def tone(frequency: float, seconds: float = 1.0, rate: int = 16_000, loudness: float = 0.5) -> torch.Tensor:
    """A sine, ``[S]``."""
    moments = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return loudness * torch.sin(2 * torch.pi * frequency * moments)


def write_tone(path: Path, frequency: float, seconds: float = 1.0, rate: int = 16_000, loudness: float = 0.5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav_bytes(tone(frequency, seconds, rate, loudness), rate))


def write_tones(folder: Path, counts: dict[str, int]) -> None:
    """``counts[name]`` sines in ``folder/name``, one pitch for each class, another loudness for each recording."""
    for place, (name, count) in enumerate(counts.items()):
        for number in range(count):
            write_tone(folder / name / f"{number:03d}.wav", 500.0 * (place + 1), loudness=0.2 + 0.05 * (number % 8))


def labelled(labels: list[int], shape: tuple[int, int, int] = (1, 2, 2), start: int = 0) -> Labelled:
    """Image number i holds the constant ``start + i``."""
    values = torch.arange(start, start + len(labels)).to(torch.uint8)
    pixels = values.view(-1, 1, 1, 1).expand(-1, *shape).contiguous()
    return Labelled(pixels=pixels, labels=torch.tensor(labels, dtype=torch.int64))


def splits(labels: list[int], classes: int, **parts: Labelled) -> LabelledSplits:
    names = tuple(f"class {number}" for number in range(classes))
    return LabelledSplits(name="toy", class_names=names, train=labelled(labels), **parts)
