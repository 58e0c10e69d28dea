from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits

from limbeck.data import load


def test_digits_are_those_of_scikit_learn() -> None:
    data = load("digits", validation=0)
    bundled = load_digits()
    expected = np.rint(bundled.images * 255 / 16).astype(np.uint8)
    found = np.concatenate([data.train.pixels.numpy(), data.require_test().pixels.numpy()])[:, 0]
    assert sorted(one.tobytes() for one in found) == sorted(one.tobytes() for one in expected)
    assert data.train.pixels.max() == 255 and data.train.pixels.min() == 0
    assert data.spec.name == "digits" and data.spec.shape == (1, 8, 8)
    assert data.spec.class_names == tuple("0123456789")


def test_a_fixed_half_of_each_class_is_for_testing() -> None:
    first, second = load("digits"), load("digits", split_seed=9, validation=0.3)
    totals = np.bincount(load_digits().target)
    assert first.require_test().class_counts() == [int(0.5 * total + 0.5) for total in totals]
    assert torch.equal(first.require_test().pixels, second.require_test().pixels)
    assert first.spec.digest != second.spec.digest


def test_labels_belong_to_their_images() -> None:
    data = load("digits")
    by_image = dict(
        zip(
            (np.rint(one * 255 / 16).astype(np.uint8).tobytes() for one in load_digits().images),
            load_digits().target.tolist(),
            strict=True,
        )
    )
    for part in (data.train, data.require_validation(), data.require_test()):
        assert [by_image[one.numpy().tobytes()] for one in part.pixels] == part.labels.tolist()


def test_digits_are_framed() -> None:
    data = load("digits", image_size=16, channels="rgb")
    assert data.spec.shape == (3, 16, 16)
    assert torch.equal(data.train.pixels[:, 0], data.train.pixels[:, 2])
