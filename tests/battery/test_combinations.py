"""Every method with every add-on: what is accepted runs, repeats and resumes; what is refused raises its sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import limbeck as lb
from limbeck import combinations, registry, testing
from limbeck.core.errors import InputError
from limbeck.data.splits import Data

METHODS = registry.methods()
ADD_ONS = {one.name: one for one in combinations.add_ons()}
VERDICTS = combinations.verdicts()
ACCEPTED = [(one.method, one.add_on) for one in VERDICTS if one.outcome != "refused"]
REFUSED = [(one.method, one.add_on, one.reason) for one in VERDICTS if one.outcome == "refused"]


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks that are trained before a run are the same for many cells."""
    return tmp_path_factory.mktemp("networks")


def changed(name: str, add_on: str) -> lb.Recipe:
    return combinations.combine(testing.starting_recipe(METHODS[name]), ADD_ONS[add_on])


def test_every_cell_is_here() -> None:
    assert {(one.method, one.add_on) for one in VERDICTS} == {(name, other) for name in METHODS for other in ADD_ONS}
    assert len(VERDICTS) == len(METHODS) * len(ADD_ONS) == len(ACCEPTED) + len(REFUSED)


@pytest.mark.parametrize(("name", "add_on"), ACCEPTED)
def test_what_is_accepted_runs(name: str, add_on: str, networks: Path, tmp_path: Path) -> None:
    recipe = testing.small(changed(name, add_on))
    testing.check_short_run(recipe, lambda: testing.toy_context(dtype=torch.float32, cache=networks), tmp_path)


@pytest.mark.parametrize(("name", "add_on", "reason"), REFUSED)
def test_what_is_refused_says_why(name: str, add_on: str, reason: str, tmp_path: Path) -> None:
    train = testing.toy()
    data, settings = Data(train=train, validation=None, test=None, spec=train.spec), lb.Settings(progress="quiet")
    assert reason.endswith(".") and "\n" not in reason
    with pytest.raises(InputError) as caught:
        lb.distill(changed(name, add_on), data, ipc=2, out=tmp_path / "run", settings=settings)
    assert str(caught.value) == reason
    assert not (tmp_path / "run").exists()
