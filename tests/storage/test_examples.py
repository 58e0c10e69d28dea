"""Real images beside a run: the first of each class, read back as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import limbeck as lb
from limbeck.core.errors import InputError
from limbeck.data import Data
from limbeck.data.images import ImageSet
from limbeck.methods.random import random
from limbeck.storage.examples import EXAMPLES, read_examples, write_examples


def test_what_is_read_are_the_first_images_of_each_class(digits: Data, tmp_path: Path) -> None:
    write_examples(tmp_path, digits.train)
    found = read_examples(tmp_path, digits.spec)
    assert found is not None and found.shape == (10, 10, 1, 8, 8)
    for label in (0, 9):
        first = digits.train.images(digits.train.class_rows(label)[:10])
        assert torch.equal(found[label], (first * 255).round() / 255)


def test_colours_survive_and_large_images_are_few(digits: Data, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2 * 12, 3, 300, 250), dtype=torch.uint8, generator=generator)
    labels = torch.arange(2).repeat_interleave(12)
    spec = replace(digits.spec, channels=3, height=300, width=250, class_names=("a", "b"))
    write_examples(tmp_path, ImageSet(images, labels, spec))
    found = read_examples(tmp_path, spec)
    # Six of each class are 2.7 million numbers.
    assert found is not None and found.shape == (2, 6, 3, 300, 250)
    assert torch.equal((found * 255).round().to(torch.uint8)[1], images[12:18])


def test_a_run_keeps_them_and_equal_runs_keep_equal_bytes(digits: Data, tmp_path: Path) -> None:
    for name in ("a", "b"):
        lb.distill(random(), digits, ipc=1, out=tmp_path / name, settings=lb.Settings(progress="quiet"))
    assert (tmp_path / "a" / EXAMPLES).read_bytes() == (tmp_path / "b" / EXAMPLES).read_bytes()


def test_none_is_no_error_but_a_damaged_one_is(digits: Data, tmp_path: Path) -> None:
    assert read_examples(tmp_path, digits.spec) is None
    path = write_examples(tmp_path, digits.train)
    with pytest.raises(InputError, match="does not show images of digits"):
        read_examples(tmp_path, replace(digits.spec, height=7))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="damaged"):
        read_examples(tmp_path, digits.spec)
