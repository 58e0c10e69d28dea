from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.core.errors import RunError
from limbeck.storage.tree import load_tree, save_tree


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def test_round_trip_of_nested_trees(tmp_path: Path) -> None:
    whole = torch.arange(12).view(3, 4)
    tree = {
        "numbers": {"one": 1, "half": 0.5, "yes": True, "none": None, "text": "été"},
        "tensors": [torch.tensor(0.1, dtype=torch.float64), whole.to(torch.uint8), torch.zeros(0, 3)],
        # Views of one memory, transposed or not, are separate tensors afterwards.
        "views": {"rows": whole[1:], "turned": whole.T, "again": whole},
        "deep": [[{"x": torch.tensor([True, False])}], [], {}],
        "grad": torch.ones(2, requires_grad=True),
    }
    save_tree(tmp_path / "tree", tree)
    back = load_tree(tmp_path / "tree")
    assert same(tree | {"grad": torch.ones(2)}, back)
    assert not back["grad"].requires_grad
    back["views"]["again"].zero_()
    assert back["views"]["turned"].sum() == whole.sum()


def test_tuples_come_back_as_lists(tmp_path: Path) -> None:
    save_tree(tmp_path / "tree", {"pair": (1, torch.tensor(2))})
    assert same(load_tree(tmp_path / "tree"), {"pair": [1, torch.tensor(2)]})


def test_a_tree_without_tensors(tmp_path: Path) -> None:
    save_tree(tmp_path / "tree", {"a": 1})
    assert load_tree(tmp_path / "tree") == {"a": 1}


def test_equal_trees_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_tree(tmp_path / name, {"b": torch.ones(2), "a": torch.zeros(3), "n": 1})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("cut", [0, 4, 30, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "tree"
    save_tree(file, {"a": torch.ones(50)})
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(RunError, match="is damaged or no checkpoint"):
        load_tree(file)


def test_no_pickle_is_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "boom",))

    (tmp_path / "tree").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(RunError):
        load_tree(tmp_path / "tree")
    assert not (tmp_path / "boom").exists()


def test_other_safetensors_files_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    file = tmp_path / "tree"
    for metadata in (None, {"tree": "[1]"}, {"tree": "{"}, {"tree": '{"a": "\\u0000tensor"}'}):
        save_file({"x": torch.ones(2)}, file, metadata=metadata)
        with pytest.raises(RunError, match="is damaged or no checkpoint"):
            load_tree(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        load_tree(tmp_path / "nothing")
