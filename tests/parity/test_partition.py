"""The part `Partition`, with its fields, reproduces the recorded mosaics of DSDM, IDM and IDC's speech code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.real import Normalization
from limbeck.core.streams import Streams
from limbeck.initializers.real import Mixed
from limbeck.parametrizations.partition import Partition
from tests.parity.recorded import RecordedSet
from tests.parity.test_ops_gradient import Vectors, close, files, load, tensor


def cases(vectors: Vectors) -> list[str]:
    return sorted({name.split("_")[0] for name in vectors})


def vjp(part: Partition, x: Tensor, cotangent: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    return torch.autograd.grad(part.decode(leaf), leaf, cotangent)[0]


def first_images(groups: Tensor, part: Partition, ipc: int) -> Tensor:
    """Where `Mixed` starts with the first images of each class, ``[K * ipc, C, H, W]``; pixels may be any numbers."""

    class Exact(RecordedSet):
        def images(self, rows: Tensor) -> Tensor:  # type: ignore[override]
            return self._images[torch.as_tensor(rows)]

    labels = torch.arange(len(groups)).repeat_interleave(groups.shape[1])
    channels = groups.shape[2]
    data = Exact(groups.flatten(0, 1), labels, Normalization((0.0,) * channels, (1.0,) * channels))
    context = Context(data=data, ipc=ipc, streams=Streams(0), build=no_network, dtype=torch.float64)
    return Mixed(choice="first").images(context, part, None).flatten(0, 1)


def no_network(*arguments: object) -> View:  # type: ignore[empty-body]
    raise AssertionError("no network is needed")


@pytest.mark.parametrize("space", ["unit", "normalized"])
@files("partition_decode_zoom")
def test_dsdm(path: Path, space: str) -> None:
    vectors = load(path)
    for case in cases(vectors):
        part = Partition(factor=int(vectors[f"{case}_factor"]), grid="official", space=space)  # type: ignore[arg-type]
        check(vectors, case, part, f"{case}_class_images")


@files("partition_speech")
def test_speech(path: Path) -> None:
    vectors = load(path)
    for case in cases(vectors):
        part = Partition(factor=int(vectors[f"{case}_factor"]), axes="columns", grid="official", pad=0.0)
        check(vectors, case, part, f"{case}_class_specs")


def check(vectors: Vectors, case: str, part: Partition, sources: str) -> None:
    groups, x = tensor(vectors[sources]), tensor(vectors[f"{case}_decode_in"])
    each = part.parts(1)
    ipc = groups.shape[1] // each
    close(torch.cat([part.encode(group, ipc) for group in groups]), vectors[f"{case}_mix_init"])
    close(first_images(groups, part, ipc), vectors[f"{case}_mix_init"])
    close(part.decode(x), vectors[f"{case}_decode_out"])
    close(vjp(part, x, tensor(vectors[f"{case}_cotangent"])), vectors[f"{case}_decode_vjp"])
    assert tensor(vectors[f"{case}_decode_target"]).tolist() == torch.arange(len(x)).repeat(each).tolist()
    assert part.parts(len(x)) == len(vectors[f"{case}_decode_out"])


@files("partition_idm")
def test_idm(path: Path) -> None:
    vectors = load(path)
    part = Partition(factor=2, order="columns", resample="bilinear", space="normalized")
    for case in cases(vectors):
        x = tensor(vectors[f"{case}_in"])
        close(part.decode(x), vectors[f"{case}_out"])
        close(vjp(part, x, tensor(vectors[f"{case}_cotangent"])), vectors[f"{case}_vjp"])
        labels = tensor(vectors[f"{case}_labels"])
        assert labels.repeat(part.parts(1)).tolist() == vectors[f"{case}_out_labels"].tolist()
        # Each quarter of what is packed is a source made half as large; the second source lies bottom left.
        half = vectors[f"{case}_downscale_half"]
        rows, columns = half.shape[2:]
        scale = torch.arange(1.0, 5, dtype=torch.float64).view(4, 1, 1, 1, 1)
        packed = part.encode((scale * x).flatten(0, 1), len(x))
        for number, (row, column) in enumerate([(0, 0), (rows, 0), (0, columns), (rows, columns)]):
            close(packed[..., row : row + rows, column : column + columns], (number + 1) * half)
