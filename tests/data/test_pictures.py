from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.data.framing import Framing
from limbeck.data.pictures import FilePictures, Listed
from tests.data.makers import plane, write_picture

NAMES = ("a/0.png", "a/1.png", "b/deep/2.png")


@pytest.fixture
def pictures(tmp_path: Path) -> FilePictures:
    for number, name in enumerate(NAMES):
        write_picture(tmp_path / "pets" / name, plane(number))
    return FilePictures(tmp_path / "pets", NAMES)


def test_files_are_read_one_by_one_in_order(pictures: FilePictures) -> None:
    found = list(pictures.read([0, 2]))
    assert [row for row, _ in found] == [0, 2] and len(pictures) == 3
    assert [content for _, content in found] == [(pictures.root / NAMES[row]).read_bytes() for row in (0, 2)]
    assert pictures.describe(2) == "image 'b/deep/2.png' of 'pets'"
    assert pickle.loads(pickle.dumps(pictures)) == pictures


@pytest.mark.parametrize(
    ("count", "workers", "longest"), [(1, 4, 1), (3, 4, 1), (100, 4, 6), (100, 1, 16), (9999, 2, 16)]
)
def test_portions_keep_order_and_all_threads_busy(
    pictures: FilePictures, count: int, workers: int, longest: int
) -> None:
    rows = list(range(7, 7 + count))
    portions = pictures.portions(rows, workers)
    assert [row for portion in portions for row in portion] == rows and max(map(len, portions)) == longest


def test_a_file_that_is_gone_is_named(pictures: FilePictures) -> None:
    (pictures.root / NAMES[1]).unlink()
    with pytest.raises(InputError, match=r"cannot read image 'a/1\.png' of 'pets': .*; repair or remove it"):
        list(pictures.read([0, 1]))


def test_the_fingerprint_is_of_names_and_sizes(pictures: FilePictures, tmp_path: Path) -> None:
    rows = torch.arange(3)
    before = pictures.fingerprint(rows)
    os.utime(pictures.root / NAMES[0], (1, 1))
    assert pictures.fingerprint(rows) == before
    pictures.root.rename(tmp_path / "animals")
    moved = FilePictures(tmp_path / "animals", NAMES)
    assert moved.fingerprint(rows) == before
    assert len({before, moved.fingerprint(rows[:2]), moved.fingerprint(torch.tensor([1, 0, 2]))}) == 3
    with (moved.root / NAMES[2]).open("ab") as file:
        file.write(b"x")
    assert moved.fingerprint(rows) != before and moved.fingerprint(rows[:2]) == FilePictures(
        moved.root, NAMES[:2]
    ).fingerprint(rows[:2])


def test_a_listing_knows_the_shape_from_the_first_picture(pictures: FilePictures) -> None:
    listed = Listed.of(pictures, torch.tensor([0, 0, 1]), Framing(image_size=(3, 2), channels="rgb"))
    assert (listed.shape, listed.count) == ((3, 3, 2), 3)
    part = listed.select(torch.tensor([2, 0]))
    assert part.rows.tolist() == [2, 0] and part.labels.tolist() == [1, 0] and part.pictures is pictures
    (pictures.root / NAMES[1]).write_text("oh")
    assert Listed.of(pictures, torch.tensor([0]), Framing(), torch.tensor([2])).shape == (1, 4, 5)
    with pytest.raises(InputError, match=r"cannot read image 'a/1\.png' of 'pets': it is no picture that Pillow knows"):
        Listed.of(pictures, torch.tensor([0]), Framing(), torch.tensor([1]))
