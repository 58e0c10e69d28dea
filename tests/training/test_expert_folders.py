from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.core.streams import Streams
from limbeck.storage.trajectories import read_manifest, trajectory_path
from limbeck.training.expert_folders import cached_folder, entry_of, listed, present, require_fitting
from limbeck.training.experts import build_experts
from tests.training.few_experts import COURSE, TRAINING, WANTED, files


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"course": replace(COURSE, rho=0.5)}, r"settings.rho is 0.0 there and 0.5 here"),
        ({"course": replace(COURSE, training=replace(TRAINING, lr=0.1))}, "settings.training.lr is 0.02 there and 0.1"),
        (
            {"course": replace(COURSE, training=replace(TRAINING, augmentation=None))},
            "settings.training.augmentation is .*dsa_augment.* there and not said here",
        ),
        ({"network": "convnet1:width=8"}, "network is convnet1:width=4 there and convnet1:width=8 here"),
        ({"half": True}, "dtype is float32 there and float16 here"),
        ({"epochs": (0, 1, 2, 3, 4)}, "epochs 0-2, 4 are kept there and 0-4 are read here"),
        ({"count": 4}, "count is 3 there and 4 here"),
    ],
)
def test_experts_that_do_not_fit_are_refused(
    context_of: Callable[..., Context], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    context = context_of(dtype=torch.float32)
    build_experts(context, WANTED, tmp_path)
    before = files(tmp_path)
    assert len(require_fitting(context, WANTED, tmp_path)) == 3
    assert require_fitting(
        context, replace(WANTED, seed=5, epochs=(0, 4), count=2), tmp_path
    )  # any seed, enough epochs
    with pytest.raises(InputError, match=message):
        require_fitting(context, replace(WANTED, **changes), tmp_path)
    if "count" not in changes:
        with pytest.raises(InputError, match=message):
            build_experts(context, replace(WANTED, **changes), tmp_path)
    assert files(tmp_path) == before


def test_experts_of_other_data_and_of_another_dtype_are_refused(
    context_of: Callable[..., Context], portion: Callable[..., Any], tmp_path: Path
) -> None:
    build_experts(context_of(dtype=torch.float32), WANTED, tmp_path)
    data = portion()
    for spec, message in (
        (replace(data.spec, digest="x"), "data.digest is .* there and x here"),
        (
            replace(data.spec, normalization=replace(data.spec.normalization, mean=(0.5,))),
            r"normalization.mean is .* there and \[0.5\] here",
        ),
    ):
        other = portion()
        other.spec = spec
        with pytest.raises(InputError, match=message):
            require_fitting(context_of(other, dtype=torch.float32), WANTED, tmp_path)
    with pytest.raises(InputError, match="dtype is float32 there and float64 here"):
        require_fitting(context_of(), WANTED, tmp_path)
    with pytest.raises(InputError, match="seed is 0 there and 1 here"):
        build_experts(context_of(dtype=torch.float32), replace(WANTED, seed=1), tmp_path)
    with pytest.raises(InputError, match=r"has no manifest.json that can be read"):
        require_fitting(context_of(), WANTED, tmp_path / "nowhere")
    path = trajectory_path(tmp_path, 2)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"expert 2 in .* is damaged"):
        require_fitting(context_of(dtype=torch.float32), WANTED, tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"expert 2 in .* is missing"):
        require_fitting(context_of(dtype=torch.float32), WANTED, tmp_path)


def test_folders_of_the_cache(context_of: Callable[..., Context], tmp_path: Path) -> None:
    context = context_of(dtype=torch.float32, cache=tmp_path)
    folder = cached_folder(context, WANTED)
    assert folder is not None and folder.parent == tmp_path / "experts"
    assert cached_folder(context_of(), WANTED) is None
    others = [
        replace(WANTED, seed=1),
        replace(WANTED, half=True),
        replace(WANTED, epochs=(0, 4)),
        replace(WANTED, course=replace(COURSE, rho=0.1)),
        replace(WANTED, course=replace(COURSE, together=2)),
        replace(WANTED, network="convnet1:width=8"),
    ]
    assert len({folder, *(cached_folder(context, one) for one in others)}) == 7
    assert cached_folder(context, replace(WANTED, count=50)) == folder
    assert cached_folder(replace(context, streams=Streams(5)), WANTED) == folder
    # Experts of which all is kept serve as well, when there are enough.
    every = replace(WANTED, epochs=(0, 1, 2, 3, 4), count=2)
    whole = cached_folder(context, every)
    assert whole is not None and whole != folder
    build_experts(context, every, whole)
    assert cached_folder(context, replace(WANTED, count=2)) == whole
    assert cached_folder(context, WANTED) == folder


def test_experts_are_known_by_their_files_and_listed_up_to_the_first_gap(
    context_of: Callable[..., Context], tmp_path: Path
) -> None:
    entries = build_experts(context_of(dtype=torch.float32), WANTED, tmp_path)
    assert present(tmp_path, read_manifest(tmp_path)) == present(tmp_path, None) == dict(enumerate(entries))
    trajectory_path(tmp_path, 1).unlink()
    left = present(tmp_path, None)
    assert list(left) == [0, 2] and listed(left) == entries[:1]
    assert present(tmp_path / "nowhere", None) == {} and listed({}) == []
    assert entry_of(trajectory_path(tmp_path, 0), 0, None) is None
