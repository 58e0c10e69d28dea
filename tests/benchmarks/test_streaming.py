from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.memory.made_up import write_jpegs
from benchmarks.memory.streaming import run


def test_made_up_pictures_are_small_and_the_same_again(tmp_path: Path) -> None:
    for name, classes in (("a", 2), ("b", 3)):
        write_jpegs(tmp_path / name, classes, 4, (40, 50))
    files = sorted((tmp_path / "a").rglob("*.JPEG"))
    assert len(files) == 8 and files[0].parent.name == "n00000000"
    for file in files:
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()
    assert len({file.read_bytes() for file in files}) == 8
    with Image.open(files[0]) as picture:
        assert picture.size == (50, 40) and picture.mode == "RGB"
    write_jpegs(tmp_path / "c", 1, 1)
    assert next((tmp_path / "c").rglob("*.JPEG")).stat().st_size < 10_000


@pytest.mark.slow
def test_a_streamed_set_takes_little_memory(tmp_path: Path) -> None:
    write_jpegs(tmp_path / "made-up" / "train", 1000, 20, 224)
    found = run(tmp_path / "made-up", 224)
    assert (found["classes"], found["training_images"], found["images_read"]) == (1000, 18_000, 100)
    assert found["loading_mb"] + found["reading_mb"] < 400 < found["decoded_would_be_mb"]
