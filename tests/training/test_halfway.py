from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.core.streams import Stream
from limbeck.training import halfway
from limbeck.training.halfway import Halfway

CPU = torch.device("cpu")


def state() -> dict[str, Any]:
    stream = Stream(0)
    weights = {"b": stream.normal(3), "a": stream.normal(2, 2)}
    return {"epochs": 3, "weights": weights, "changes": [[0.1, 1e-17], [0.2, 3.0]], "snapshots": {"0": [weights]}}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halfway, "KEEPING", 0.0)


def test_what_is_kept_comes_back_to_the_bit(tmp_path: Path) -> None:
    kept = Halfway(tmp_path / "0000.unfinished")
    assert kept.kept(CPU, {}) is None
    kept.keep_if_due(state())
    found = Halfway(tmp_path / "0000.unfinished").kept(CPU, {"weights": state()["weights"]})
    assert found is not None
    assert list(found["weights"]) == ["b", "a"] and found["changes"] == state()["changes"] and found["epochs"] == 3
    assert torch.equal(found["snapshots"]["0"][0]["a"], state()["weights"]["a"])
    kept.remove()
    assert list(tmp_path.iterdir()) == []
    kept.remove()


def test_only_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halfway, "KEEPING", 1e9)
    Halfway(tmp_path / "0000.unfinished").keep_if_due(state())
    assert list(tmp_path.iterdir()) == []


def test_another_training_and_damage_count_as_none(tmp_path: Path) -> None:
    path = tmp_path / "0000.unfinished"
    kept = Halfway(path)
    kept.keep_if_due(state())
    weights = state()["weights"]
    others: list[dict[str, Any]] = [
        {"weights": {"a": weights["a"], "b": weights["b"]}},
        {"weights": {**weights, "a": weights["a"].float()}},
        {"weights": {**weights, "a": weights["a"][:1]}},
        {"velocity": weights},
    ]
    assert [kept.kept(CPU, other) for other in others] == [None] * 4
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    for damaged in (b"", bytes(content[:-9]), bytes(content), b"{}"):
        path.write_bytes(damaged)
        assert kept.kept(CPU, {}) is None


def test_without_a_folder_nothing_is_kept() -> None:
    kept = Halfway(None)
    kept.keep_if_due(state())
    assert kept.kept(CPU, {}) is None
    kept.remove()


def test_a_locked_disk_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="trained networks could not be kept"):
        Halfway(tmp_path / "file" / "0000.unfinished").keep_if_due(state())
