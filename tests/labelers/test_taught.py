from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from limbeck.core.errors import InputError
from limbeck.labelers.hard import Hard
from limbeck.labelers.taught import Taught
from limbeck.pools.fresh import Fresh
from limbeck.storage.directory import SIDECAR, read_set, write_set
from tests.engine.tiny import NETWORK, tiny_idc
from tests.evaluation.taught import random_set


@dataclass(frozen=True, kw_only=True)
class Teaching(Fresh):
    """Stands for a pool with a teacher."""

    def offers(self) -> frozenset[str]:
        return super().offers() | {"teacher"}


def test_targets_are_those_of_hard_labels() -> None:
    assert Taught().targets(3, 4).tolist() == Hard().targets(3, 4).tolist() == [3, 3, 3, 3]
    assert Taught().offers() == Hard().offers()


def test_somebody_must_teach() -> None:
    recipe = tiny_idc().with_(labeler=Taught())
    with pytest.raises(InputError, match=r"labeler 'taught' of recipe 'idc' needs teacher.*fill the slot 'pool'"):
        recipe.check()
    recipe.with_(pool=Teaching(network=NETWORK)).check()


def test_a_set_says_what_labels_it_is_meant_for(tmp_path: Path) -> None:
    one = random_set()
    for name, labeler in (("hard", Hard()), ("soft", Taught())):
        write_set(tmp_path / name, replace(one, recipe=one.recipe.with_(labeler=labeler)))
        _, description = read_set(tmp_path / name)
        assert description["labels"] == labeler.in_words() and description["labels"].startswith(f"{name}: ")
        assert labeler.in_words() in (tmp_path / name / "README.md").read_text(encoding="utf-8")
        assert json.loads((tmp_path / name / SIDECAR).read_text())["recipe"]["labeler"]["part"] in ("hard", "taught")
