from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from limbeck.core.context import Context
from limbeck.core.errors import RunError
from limbeck.core.network import Weights
from limbeck.storage.trajectories import (
    MANIFEST,
    is_sound,
    read_manifest,
    read_snapshot,
    trajectory_facts,
    trajectory_path,
    write_manifest,
    write_trajectory,
)
from limbeck.storage.weights import digest

NETWORK = "convnet1:width=4,norm=batch"


@pytest.fixture
def snapshots(context_of: Callable[..., Context]) -> dict[int, Weights]:
    context = context_of(dtype=torch.float32)
    return {epoch: context.network(NETWORK).initial(context.streams("test", epoch)) for epoch in (0, 1, 50)}


def test_snapshots_are_read_one_by_one(
    context_of: Callable[..., Context], snapshots: dict[int, Weights], tmp_path: Path
) -> None:
    path = trajectory_path(tmp_path / "set", 7)
    assert path.name == "0007.safetensors"
    write_trajectory(path, snapshots, {"accuracy": 0.5, "changes": [1.0, 1e-17]})
    write_trajectory(tmp_path / "other.safetensors", snapshots, {"changes": [1.0, 1e-17], "accuracy": 0.5})
    assert digest(path) == digest(tmp_path / "other.safetensors")
    assert trajectory_facts(path) == {"accuracy": 0.5, "changes": [1.0, 1e-17]}
    for dtype in (torch.float32, torch.float64):
        network = context_of(dtype=dtype).network(NETWORK)
        for epoch, weights in snapshots.items():
            found = read_snapshot(path, epoch, network)
            assert list(found) == list(network.module().state_dict())
            for name, tensor in weights.items():
                assert torch.equal(found[name], tensor.to(found[name].dtype))
                assert found[name].dtype == (dtype if tensor.is_floating_point() else torch.int64)
    network = context_of().network(NETWORK)
    with pytest.raises(RunError, match="cannot be read at epoch 2"):
        read_snapshot(path, 2, network)
    with pytest.raises(RunError, match="cannot be read at epoch 0"):
        read_snapshot(tmp_path / "none.safetensors", 0, network)
    with pytest.raises(RunError, match="holds another network"):
        read_snapshot(path, 0, context_of().network("convnet1:width=8,norm=batch"))


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "number", "header", "other"])
def test_damage_is_seen(snapshots: dict[int, Weights], tmp_path: Path, damage: str) -> None:
    path = tmp_path / "0000.safetensors"
    write_trajectory(path, snapshots, {"accuracy": 0.5})
    expected = digest(path)
    assert is_sound(path, expected) and is_sound(path, expected)
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        content[-5] ^= 1
        cut = {"empty": b"", "cut": bytes(content[:-9]), "number": bytes(content), "other": b"{}"}
        path.write_bytes(cut.get(damage, b"\xff" * 8 + bytes(content[8:])))
    assert trajectory_facts(path) is None
    assert not is_sound(path, expected)


def test_a_manifest_is_written_whole_and_read_if_it_can_be(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    write_manifest(tmp_path, {"a": [1, 0.1], "b": None})
    assert read_manifest(tmp_path) == {"a": [1, 0.1], "b": None}
    for content in ("{", "[]", ""):
        (tmp_path / MANIFEST).write_text(content)
        assert read_manifest(tmp_path) is None
