from __future__ import annotations

from dataclasses import replace

import pytest

from limbeck.evaluation.condensation import dsa
from limbeck.evaluation.trajectory import RATED, ast, ast_official, mtt


def test_mtt_is_dsa_with_the_learnt_step_size() -> None:
    protocol = mtt(data="svhn")
    assert protocol == replace(dsa(data="svhn", repeats=5), name="mtt", lr_of_set="required")
    assert (protocol.length, protocol.repeats, protocol.training.batch_size) == (1001, 5, 256)
    assert [protocol.lr(epoch, 100, 1.0) for epoch in (0, 501, 502, 1000)] == [1.0, 1.0, 0.1, 0.1]
    assert [epoch for epoch in range(1001) if protocol.forgets(epoch)] == [502]
    named = mtt(lr=0.02)
    assert (named.lr_of_set, named.training.lr) == ("preferred", 0.02)


def test_ast_as_its_paper_and_as_its_code() -> None:
    stated, coded = ast(), ast_official(repeats=2)
    assert (stated.length, stated.repeats, stated.training.weight_decay, stated.checked_every) == (1000, 5, 5e-4, 0)
    assert [stated.lr(epoch, 100, 1.0) for epoch in (0, 499, 500, 999)] == [1.0, 1.0, 0.5, 0.5]
    assert not any(stated.forgets(epoch) for epoch in range(1000))
    assert (coded.length, coded.repeats, coded.training.weight_decay, coded.checked_every) == (1001, 2, 1e-3, 20)
    assert ast_official().repeats == 1
    assert [coded.lr(epoch, 100, 1.0) for epoch in (0, 501, 502, 1000)] == [1.0, 1.0, 0.5, 0.5]
    assert [coded.momentum(epoch) for epoch in (0, 501, 502, 1000)] == [0.9, 0.9, 0.8, 0.8]
    assert coded.forgets(502) and coded.lr_of_set == stated.lr_of_set == "required"
    assert "flip" not in str(ast(data="digits").training.augmentation)


def test_what_is_asked_reaches_all_alike() -> None:
    for name, make in zip(RATED, (mtt, ast, ast_official), strict=True):
        found = make(networks=("mlp",), repeats=4, data="mnist", epochs=8, lr=0.3)
        assert (found.name, found.networks, found.repeats, found.training.lr) == (name, ("mlp",), 4, 0.3)
        assert found.length == (8 if name == "ast" else 9)
        assert found.training.augmentation == dsa(data="mnist").training.augmentation
        with pytest.raises(TypeError, match="epoch"):
            make(epoch=8)  # type: ignore[call-arg]
