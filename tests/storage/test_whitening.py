from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save

from limbeck.core.errors import InputError
from limbeck.data import Data
from limbeck.storage.whitening import whitening_from_bytes, whitening_to_bytes


def test_it_comes_back_to_the_bit(whitened: Data) -> None:
    one = whitened.spec.normalization.whitening
    assert one is not None
    content = whitening_to_bytes(one)
    assert content == whitening_to_bytes(replace(one))
    again = whitening_from_bytes(content, "a file")
    assert again == one and again.eps == one.eps
    for name in ("basis", "variances", "mean"):
        assert torch.equal(getattr(again, name), getattr(one, name))
    assert torch.equal(again.matrix(), one.matrix()) and torch.equal(again.inverse(), one.inverse())


def test_damage_is_named(whitened: Data) -> None:
    one = whitened.spec.normalization.whitening
    assert one is not None
    content = whitening_to_bytes(one)
    edited = load(content)
    edited["mean"] = edited["mean"] + 1
    for wrong, said in (
        (content[:-8], "holds no whitening"),
        (b"", "holds no whitening"),
        (save({"stored": torch.zeros(3)}), "holds no whitening"),
        (save(edited), "was edited"),
    ):
        with pytest.raises(InputError, match=f"a file {said}"):
            whitening_from_bytes(wrong, "a file")
