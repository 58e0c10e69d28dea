import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import limbeck as lb
from limbeck.continual.learning import RESULT, class_order, cut, learn_continually
from limbeck.continual.merging import merged
from limbeck.core.errors import InputError
from limbeck.data.of_classes import of_classes
from limbeck.engine.settings import Settings
from limbeck.evaluation.evaluate import evaluate
from limbeck.evaluation.protocol import Protocol
from limbeck.formats.native import load
from limbeck.methods.dm import dm
from limbeck.methods.random import random
from limbeck.reports.continual import Stages

DATA = lb.data.load("digits")
PROTOCOL = Protocol(name="tiny", networks=("mlp",), repeats=2, budget="updates", length=10)
QUIET = Settings(progress="quiet")


def learnt(out: Path, **changes: object) -> Stages:
    made = dm("digits")
    recipes = {"random": random(), "dm": replace(made, curriculum=replace(made.curriculum, iterations=3))}
    asked = {"steps": 3, "ipc": 2, "orders": (0, 1), "protocol": PROTOCOL, "out": out, "settings": QUIET}
    return learn_continually(recipes, DATA, **{**asked, **changes})


def test_orders_are_random_and_cut_evenly() -> None:
    orders = [class_order(10, number) for number in range(5)]
    assert all(sorted(order) == list(range(10)) for order in orders) and len(set(orders)) == 5
    assert orders[0] == class_order(10, 0)
    assert [len(step) for step in cut(orders[0], 4)] == [3, 3, 2, 2]
    assert [number for step in cut(orders[0], 4) for number in step] == list(orders[0])
    for steps in (0, 6):
        with pytest.raises(InputError, match="choose 1 to 5"):
            cut(orders[0], steps)


def test_every_step_is_what_was_distilled_of_its_classes_and_is_judged_on_all_classes_seen(tmp_path: Path) -> None:
    found = learnt(tmp_path, full=True)
    assert [curve.method for curve in found.curves] == ["random", "dm", "full"]
    assert [[stage.classes for stage in curve.stages] for curve in found.curves] == [[4, 7, 10]] * 3
    arrival = cut(class_order(10, 1), 3)
    assert found.orders[1] == tuple(tuple(str(number) for number in step) for step in arrival)
    # The second step of the second order, by hand.
    seen = of_classes(DATA, [*arrival[0], *arrival[1]])
    kept = []
    for number in (1, 2):
        folder = tmp_path / "dm-ipc2-order1" / f"step-{number}"
        one = load(folder)
        assert one.spec.class_names == tuple(str(label) for label in arrival[number - 1]) and one.seed == 1
        kept.append(one)
    assert seen.test is not None
    scores = evaluate(merged(kept, seen.spec), seen.test, PROTOCOL, seed=1)
    stage = found.curves[1].stages[1]
    assert stage.accuracies[1] == scores.networks[0].accuracies
    assert stage.bytes == 7 * 2 * 64
    assert found.curves[1].average == pytest.approx(sum(stage.mean for stage in found.curves[1].stages) / 3)
    written = json.loads((tmp_path / RESULT).read_text())
    assert [entry["method"] for entry in written["methods"]] == ["random", "dm", "full"]
    assert written["methods"][1]["stages"][1]["accuracies"][1] == list(stage.accuracies[1])


def test_what_is_there_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = learnt(tmp_path, orders=(0,), full=True)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("judged again")

    monkeypatch.setattr("limbeck.reports.judging.evaluate", refuse)
    monkeypatch.setattr("limbeck.continual.learning.evaluate_real", refuse)
    assert learnt(tmp_path, orders=(0,), full=True) == first


def test_wrong_wishes_are_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="each named once"):
        learnt(tmp_path, orders=(0, 0))
    with pytest.raises(InputError, match="choose 1 to 5"):
        learnt(tmp_path, steps=6)
    with pytest.raises(InputError, match="lower ipc"):
        learnt(tmp_path, ipc=1000)
    assert not list(tmp_path.iterdir())


def test_steps_do_not_see_images_of_other_classes(tmp_path: Path) -> None:
    """Other images of the second step's classes change nothing in the first step's set."""
    learnt(tmp_path / "a", orders=(0,))
    arrival = cut(class_order(10, 0), 3)
    darker = DATA.train.subset(torch.arange(len(DATA.train)))
    rows = torch.cat([darker.class_rows(number) for number in arrival[1]])
    darker.pixels[rows] //= 2
    made = dm("digits")
    recipes = {"dm": replace(made, curriculum=replace(made.curriculum, iterations=3))}
    learn_continually(
        recipes,
        replace(DATA, train=darker),
        steps=3,
        ipc=2,
        orders=(0,),
        protocol=PROTOCOL,
        out=tmp_path / "b",
        settings=QUIET,
    )
    for number, same in ((1, True), (2, False), (3, True)):
        one, other = (load(tmp_path / side / "dm-ipc2-order0" / f"step-{number}").stored for side in "ab")
        assert torch.equal(one, other) == same
