from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.data.shards import ShardPictures, read_labels
from tests.data.makers import encode, plane, write_parquet


def write(folder: Path, struct: bool = True) -> tuple[list[bytes], tuple[Path, ...]]:
    """Files of 7, 0 and 40 pictures, in row groups of 3 and 25."""
    pictures = [encode(plane(number)) for number in range(47)]
    files = tuple(folder / f"train-{number}.parquet" for number in range(3))
    for file, rows, size in zip(files, (pictures[:7], [], pictures[7:]), (3, 3, 25), strict=True):
        labels: Any = [0] * len(rows) if rows else pyarrow.array([], "int64")
        write_parquet(file, list(rows), labels, struct=struct)
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(file), file, row_group_size=size)
    return pictures, files


@pytest.mark.parametrize("struct", [True, False])
def test_rows_are_found_in_their_groups(tmp_path: Path, struct: bool) -> None:
    pictures, files = write(tmp_path, struct)
    shards = ShardPictures.of(files, "image")
    assert len(shards) == 47 and shards.starts == (0, 3, 6, 7, 32, 47)
    rows = [0, 2, 3, 6, 7, 20, 31, 32, 46]
    portions = shards.portions(rows, 4)
    assert portions == [[0, 2], [3], [6], [7, 20, 31], [32, 46]]
    found = dict(pair for portion in portions for pair in shards.read(portion))
    assert found == {row: pictures[row] for row in rows}
    assert [shards.describe(row) for row in (6, 7)] == ["row 6 of 'train-0.parquet'", "row 0 of 'train-2.parquet'"]
    assert pickle.loads(pickle.dumps(shards)) == shards


def test_a_group_is_read_no_further_than_it_must(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, files = write(tmp_path)
    batches: list[int] = []
    original = pyarrow.parquet.ParquetFile.iter_batches

    def watched(*arguments: Any, **options: Any) -> Any:
        assert options["columns"] == ["image.bytes"]
        for batch in original(*arguments, **options):
            batches.append(len(batch))
            yield batch

    monkeypatch.setattr(pyarrow.parquet.ParquetFile, "iter_batches", watched)
    shards = ShardPictures.of(files, "image")
    assert len(list(shards.read([8, 9]))) == 2 and batches == [16]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x.parquet", [encode(plane(0)), None], [0, None])
    shards = ShardPictures.of([tmp_path / "x.parquet"], "image")
    with pytest.raises(InputError, match=r"row 1 of 'x\.parquet' has no picture; fill it in or remove the row"):
        list(shards.read([0, 1]))
    with pytest.raises(InputError, match=r"row 1 of 'x\.parquet' has no label; fill it in or remove the row"):
        read_labels([tmp_path / "x.parquet"], "label")
    with pytest.raises(InputError, match=r"label column 'image' of 'x.parquet' holds struct.*set label_column"):
        read_labels([tmp_path / "x.parquet"], "image")
    with pytest.raises(InputError, match=r"image column 'label' of 'x.parquet' holds int64, not the bytes of picture"):
        ShardPictures.of([tmp_path / "x.parquet"], "label")
    (tmp_path / "x.parquet").write_bytes(b"nothing")
    for read in (lambda: list(shards.read([0])), lambda: ShardPictures.of(shards.files, "image")):
        with pytest.raises(InputError, match=r"cannot read 'x\.parquet' as parquet \(.*\); repair or remove it"):
            read()


def test_the_fingerprint_is_of_files_and_rows(tmp_path: Path) -> None:
    _, files = write(tmp_path)
    shards, rows = ShardPictures.of(files, "image"), torch.arange(5)
    before = shards.fingerprint(rows)
    files[0].touch()
    assert ShardPictures.of(files, "image").fingerprint(rows) == before
    assert shards.fingerprint(rows + 1) != before
    with files[2].open("ab") as file:
        file.write(b"x")
    assert shards.fingerprint(rows) != before
