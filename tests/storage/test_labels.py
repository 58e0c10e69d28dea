from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.storage.labels import MANIFEST, LabelStore, add_epoch, begin_store, open_store

ABOUT = {"set": {"digest": "abc", "classes": 3}, "seed": 0, "shape": (1, 2)}


def epoch(number: int) -> dict[str, torch.Tensor]:
    return {"values": torch.full((4, 3), number, dtype=torch.float16), "rows": torch.arange(4)}


def filled(folder: Path, count: int = 2) -> LabelStore:
    store = begin_store(folder, ABOUT, count)
    for number in range(count):
        store = add_epoch(store, epoch(number))
    return store


def test_what_was_written_is_read_and_goes_round(tmp_path: Path) -> None:
    written = filled(tmp_path / "deep" / "labels")
    store = open_store(str(tmp_path / "deep" / "labels"))
    assert store == written and store.complete
    for number in range(5):
        read = store.read(number)
        assert set(read) == {"values", "rows"}
        assert torch.equal(read["values"], epoch(number % 2)["values"]) and read["values"].dtype == torch.float16
    assert store.bytes == sum(path.stat().st_size for path in store.folder.iterdir())


def test_equal_labels_make_equal_folders_and_others_another_digest(tmp_path: Path) -> None:
    one, two = filled(tmp_path / "a"), filled(tmp_path / "b")
    assert one.digest == two.digest
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    other = add_epoch(begin_store(tmp_path / "c", ABOUT, 1), epoch(0))
    assert other.digest != one.digest


def test_an_interrupted_store_is_continued(tmp_path: Path) -> None:
    store = add_epoch(begin_store(tmp_path / "a", ABOUT, 2), epoch(0))
    with pytest.raises(InputError, match="1 of 2 epochs"):
        open_store(tmp_path / "a")
    (tmp_path / "a" / ".tmp-0-left").write_bytes(b"half")
    again = begin_store(tmp_path / "a", dict(reversed(ABOUT.items())), 2)
    assert again == store and not again.complete
    assert add_epoch(again, epoch(1)).digest == filled(tmp_path / "b").digest


def test_other_labels_are_refused_with_the_first_difference(tmp_path: Path) -> None:
    filled(tmp_path / "a")
    with pytest.raises(InputError, match=r"its about\.set\.digest is 'abc', now 'abd' is asked for"):
        begin_store(tmp_path / "a", {**ABOUT, "set": {"digest": "abd", "classes": 3}, "seed": 1}, 2)
    with pytest.raises(InputError, match="its planned is 2, now 3"):
        begin_store(tmp_path / "a", ABOUT, 3)


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no soft labels"):
        open_store(tmp_path)
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(InputError, match="not empty and holds no labels"):
        begin_store(tmp_path, ABOUT, 1)
    with pytest.raises(InputError, match="not empty and holds no labels"):
        begin_store(tmp_path / "mine", ABOUT, 1)


def test_damage_is_found(tmp_path: Path) -> None:
    store = filled(tmp_path / "a")
    path = tmp_path / "a" / "epoch-0001.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    store.read(0)
    with pytest.raises(InputError, match="edited or truncated"):
        store.read(1)
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        store.read(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 1"),
        ({"epochs": [{"file": "../x", "bytes": 1, "sha256": ""}]}, "list of files"),
        ({"epochs": None}, "damaged"),
    ],
    ids=str,
)
def test_a_manifest_that_cannot_be_is_refused(change: dict[str, object], message: str, tmp_path: Path) -> None:
    filled(tmp_path / "a")
    path = tmp_path / "a" / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=message):
        open_store(tmp_path / "a")
    path.write_text("{")
    with pytest.raises(InputError, match="damaged"):
        open_store(tmp_path / "a")
