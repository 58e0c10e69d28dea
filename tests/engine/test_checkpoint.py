from __future__ import annotations

from pathlib import Path

import pytest
import torch

from limbeck.core.errors import RunError
from limbeck.engine.checkpoint import Checkpoints

CPU = torch.device("cpu")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def save(checkpoints: Checkpoints, *ordinals: int) -> None:
    for ordinal in ordinals:
        checkpoints.save(ordinal, {"ordinal": ordinal, "images": torch.full((2, 3), float(ordinal))})


def test_the_last_two_are_kept_in_numerical_order(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    save(checkpoints, 0, 9, 10, 100)
    assert names(tmp_path / "checkpoints") == ["step-000000010.safetensors", "step-000000100.safetensors"]
    latest = checkpoints.latest(CPU)
    assert latest is not None
    assert latest["ordinal"] == 100
    assert torch.equal(latest["images"], torch.full((2, 3), 100.0))


def test_tensors_come_back_at_addresses_like_those_of_new_ones(tmp_path: Path) -> None:
    """Kernels add in another order at odd addresses, so that a resumed run would differ in its last bits."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {f"tensor {count}": torch.rand(count) for count in range(1, 9)})
    latest = checkpoints.latest(CPU)
    assert latest is not None
    aligned = max(size for size in (4, 16, 64) if all(torch.rand(count).data_ptr() % size == 0 for count in range(9)))
    assert [name for name, tensor in latest.items() if tensor.data_ptr() % aligned] == []


def test_without_a_checkpoint_there_is_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "checkpoints").latest(CPU) is None


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage"])
def test_a_damaged_one_falls_back_to_the_one_before(tmp_path: Path, damage: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 4, 5)
    newest = tmp_path / "step-000000005.safetensors"
    content = newest.read_bytes()
    newest.write_bytes({"empty": b"", "cut": content[:-5], "garbage": b"x" * 200}[damage])
    latest = checkpoints.latest(CPU)
    assert latest is not None
    assert latest["ordinal"] == 4


def test_only_damaged_ones_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 4, 5)
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with pytest.raises(RunError, match=r"step-000000004\.safetensors is damaged"):
        checkpoints.latest(CPU)


def test_clear_removes_files_of_a_killed_run_as_well(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    save(checkpoints, 1)
    (tmp_path / "checkpoints" / ".tmp-0123-step-000000002.safetensors").write_bytes(b"half")
    checkpoints.clear()
    assert names(tmp_path) == []
    checkpoints.clear()
