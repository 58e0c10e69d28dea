from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from limbeck.core.errors import InputError
from limbeck.core.execution import Execution
from limbeck.data import Data
from limbeck.engine.distill import distill
from limbeck.engine.settings import Settings
from limbeck.evaluation.details import Details
from limbeck.evaluation.diversity import DiversityProtocol, DiversityScores, Figures
from limbeck.evaluation.protocols import Protocol, mtt
from limbeck.evaluation.scores import NetworkScores, Scores
from limbeck.reports.runs import (
    as_text,
    diversity_as_plain,
    diversity_file,
    evaluation_file,
    read_run,
    scores_as_plain,
    write_diversity,
    write_scores,
)
from tests.engine.tiny import tiny_dream

PROTOCOL = Protocol(name="tiny", networks=("mlp", "convnet2"), repeats=2)
SCORES = Scores(
    protocol=PROTOCOL,
    networks=(NetworkScores("mlp", (0.5, 0.7), (11, 12), 0.01), NetworkScores("convnet2", (0.8, 0.8), (13, 14), 0.02)),
    images=10,
    test_images=360,
    seed=4,
    seconds=1.5,
)


@pytest.fixture(scope="module")
def finished(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    distill(tiny_dream(), digits, ipc=1, seed=2, out=out, settings=Settings(device="cpu", progress="quiet"))
    return out


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_a_run_is_what_its_files_say(folder: Path) -> None:
    run = read_run(folder)
    assert run.folder == folder
    assert (run.method, run.title) == ("dream", "dream, digits, IPC 1, seed 2")
    assert [step for step, _ in run.losses] == [1, 2, 3, 4, 5, 6]
    assert run.record["final_loss"] == run.losses[-1][1]
    assert run.record["steps"] == 6
    assert run.evaluations == ()


def test_record_and_log_may_be_missing(folder: Path) -> None:
    (folder / "record.json").unlink()
    (folder / "log.jsonl").unlink()
    run = read_run(folder)
    assert (run.record, run.losses) == ({}, ())


def test_a_log_may_say_more_than_losses(folder: Path) -> None:
    lines = [
        {"step": 1, "loss": 1.0, "seconds": 0.1},
        {"step": 2, "loss": 0.9, "seconds": 0.2, "student_lr": 0.011, "of later versions": [1, 2]},
        {"step": 3, "loss": 0.8, "seconds": 0.3, "student_lr": 0.012, "skipped": 2.0},
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    run = read_run(folder)
    assert run.losses == ((1, 1.0), (2, 0.9), (3, 0.8))
    assert run.rates == ((2, 0.011), (3, 0.012))
    assert run.skipped == 2


def test_a_log_of_losses_alone_has_no_step_sizes(folder: Path) -> None:
    run = read_run(folder)
    assert (run.rates, run.skipped) == ((), 0)


@pytest.mark.parametrize("line", ["[1]", '{"step": 1}', '{"step": 1, "loss": 1, "student_lr": "x"}', "{"])
def test_a_damaged_log_is_refused(folder: Path, line: str) -> None:
    (folder / "log.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"log\.jsonl is damaged"):
        read_run(folder)


def test_scores_are_written_beside_the_set_and_read_back(folder: Path) -> None:
    distilled = read_run(folder).distilled
    path = write_scores(folder, SCORES, distilled)
    assert path.parent == folder
    assert path.name == evaluation_file(PROTOCOL, 4, "float32")
    (evaluation,) = read_run(folder).evaluations
    spent = read_run(folder).record["seconds"]
    assert evaluation == scores_as_plain(SCORES, distilled.bytes, spent)
    assert evaluation["distil_seconds"] == spent > 0
    assert (evaluation["last"], evaluation["best"]) == (evaluation["mean"], None)
    assert (evaluation["test_evaluations"], evaluation["selection"]) == (1, "none")
    assert evaluation["bytes"] == 10 * 64 * 4
    low = tuple(replace(entry, execution=Execution(precision="bfloat16")) for entry in SCORES.networks)
    other = write_scores(folder, replace(SCORES, networks=low), distilled)
    assert other != path, "another precision overwrote the scores"
    other.unlink()
    assert evaluation["mean"] == pytest.approx(0.7)
    assert evaluation["std"] == pytest.approx(0.141421356)
    assert evaluation["networks"][0]["seeds"] == [11, 12]
    assert evaluation["networks"][1] == {
        "network": "convnet2",
        "mean": pytest.approx(0.8),
        "std": 0.0,
        "accuracies": [0.8, 0.8],
        "seeds": [13, 14],
        "lr": 0.02,
        "execution": {
            "compile": False,
            "precision": "float32",
            "blocks": "loop",
            "microbatch": 0,
            "allocator": "default",
            "together": 1,
        },
        "details": [],
    }
    assert evaluation["protocol"]["training"]["batch_size"] == 64
    assert (evaluation["seed"], evaluation["training_images"], evaluation["test_images"]) == (4, 10, 360)


def test_equal_evaluations_share_a_file_and_others_do_not() -> None:
    name = evaluation_file(PROTOCOL, 0, "uint8")
    assert name == evaluation_file(replace(PROTOCOL), 0, "uint8")
    assert name.startswith("evaluation-tiny-")
    others = {
        evaluation_file(PROTOCOL, 1, "uint8"),
        evaluation_file(PROTOCOL, 0, "float32"),
        evaluation_file(replace(PROTOCOL, length=7), 0, "uint8"),
        evaluation_file(replace(PROTOCOL, training=replace(PROTOCOL.training, cutmix=0.5)), 0, "uint8"),
    }
    others.add(evaluation_file(PROTOCOL, 0, "uint8", "digest of other data"))
    assert len(others) == 5
    assert name not in others
    assert evaluation_file(PROTOCOL, 0, "uint8", kind="curve") == name.replace("evaluation", "curve")


def test_scores_on_other_data_say_so(folder: Path) -> None:
    distilled = read_run(folder).distilled
    own = write_scores(folder, SCORES, distilled, distilled.spec)
    other = write_scores(folder, SCORES, distilled, replace(distilled.spec, name="other", digest="other"))
    assert own.name == evaluation_file(PROTOCOL, 4, "float32") != other.name
    assert "data" not in json.loads(own.read_text())
    assert json.loads(other.read_text())["data"] == "other"


def test_curves_are_read_beside_evaluations(folder: Path) -> None:
    assert read_run(folder).curves == ()
    (folder / "curve-tiny-0.json").write_text('{"points": []}')
    assert read_run(folder).curves == ({"points": []},)


def test_looks_and_migrations_are_read_too(folder: Path) -> None:
    assert (read_run(folder).looks, read_run(folder).migrations) == ((), ())
    (folder / "watch.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    (folder / "migration-seed0.json").write_text('{"seed": 0}')
    assert (read_run(folder).looks, read_run(folder).migrations) == (({"step": 1}, {"step": 2}), ({"seed": 0},))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("record.json", lambda path: path.write_text("{")),
        ("record.json", lambda path: path.write_text("[1]")),
        ("log.jsonl", lambda path: path.write_text('{"step": 1, "lo')),
        ("log.jsonl", lambda path: path.write_text('{"step": 1}\n')),
        ("log.jsonl", lambda path: path.write_text("[1, 2]\n")),
        ("evaluation-tiny-0.json", lambda path: path.write_text("")),
        ("curve-tiny-0.json", lambda path: path.write_text("[]")),
        ("diversity-0.json", lambda path: path.write_text("{")),
        ("migration-seed0.json", lambda path: path.write_text("")),
        ("watch.jsonl", lambda path: path.write_text('{"step": 1, "cla')),
        ("distilled.json", lambda path: path.unlink()),
    ],
)
def test_damaged_files_are_named(name: str, damage: Callable[[Path], object], folder: Path) -> None:
    damage(folder / name)
    with pytest.raises(InputError) as caught:
        read_run(folder)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished distilled set"):
        read_run(tmp_path)


def test_written_scores_are_strict_json(folder: Path) -> None:
    path = write_scores(folder, SCORES, read_run(folder).distilled)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(path.read_text(), parse_constant=refuse)


FIGURES = Figures(4.0, 2.0, 1.0, 1.5, 0.1, 0.5, 0.2, 3.0, 1.2, 2.5, 0.3)
DIVERSITY = DiversityScores(
    protocol=DiversityProtocol(network="mlp"),
    seed=4,
    features="vector",
    dimensions=8,
    teacher_accuracy=0.9,
    images=(1, 1),
    real_images=(5, 6),
    classes=(FIGURES, replace(FIGURES, pair_distance=None, coverage=1.0)),
    scatter=(),
    execution=Execution(),
    seconds=1.5,
)


def test_diversity_is_written_beside_the_set_and_read_back(folder: Path) -> None:
    distilled = read_run(folder).distilled
    path = write_diversity(folder, DIVERSITY, distilled)
    assert path.name == diversity_file(DIVERSITY.protocol, 4, "float32") and path.name.startswith("diversity-")
    (found,) = read_run(folder).diversities
    assert found == json.loads(json.dumps(diversity_as_plain(DIVERSITY)))
    assert (found["mean"]["coverage"], found["mean"]["pair_distance"]) == (0.75, None)
    assert found["classes"][0]["effective_rank"] == 1.5
    assert "data" not in found
    other = write_diversity(folder, DIVERSITY, distilled, replace(distilled.spec, name="other", digest="other"))
    assert json.loads(other.read_text())["data"] == "other"
    names = {
        path.name,
        other.name,
        diversity_file(DIVERSITY.protocol, 5, "float32"),
        diversity_file(DIVERSITY.protocol, 4, "uint8"),
        diversity_file(replace(DIVERSITY.protocol, epochs=1), 4, "float32"),
        diversity_file(DIVERSITY.protocol, 4, "float32", precision="bfloat16"),
    }
    assert len(names) == 6


def test_looks_that_were_selected_on_test_data_stand_under_that_name() -> None:
    assert "selected_on_test" not in scores_as_plain(SCORES, 1)
    looked = replace(SCORES, networks=(replace(SCORES.networks[0], best=(0.6, 0.8)),))
    plain = scores_as_plain(looked, 1)
    assert plain["selected_on_test"] == pytest.approx(0.7) and plain["mean"] == pytest.approx(0.6)
    assert plain["networks"][0]["selected_on_test"] == [0.6, 0.8]
    assert plain["networks"][0]["accuracies"] == [0.5, 0.7]
    assert (plain["last"], plain["best"]) == (plain["mean"], plain["selected_on_test"])


def test_what_was_chosen_and_by_what_is_written() -> None:
    def selection(**changes: object) -> object:
        return scores_as_plain(replace(SCORES, protocol=replace(PROTOCOL, **changes)), 1)["selection"]  # type: ignore[arg-type]

    assert selection() == "none"
    assert selection(learning_rates=(0.1, 0.2)) == "validation step size"
    assert selection(checked_every=20) == selection(checked_every=20, learning_rates=(0.1,)) == "best look on test data"
    looked = replace(SCORES, networks=(replace(SCORES.networks[0], looks=51),))
    assert scores_as_plain(looked, 1)["test_evaluations"] == 51
    assert scores_as_plain(replace(SCORES, protocol=mtt()), 1)["sources"][0] == "cazenavette2022mtt"
    assert scores_as_plain(SCORES, 1)["sources"] == []


def test_details_are_written_with_a_line_for_each_class() -> None:
    details = Details(((3, 1), (0, 0)), 0.1, 0.5, 0.25)
    plain = scores_as_plain(replace(SCORES, networks=(replace(SCORES.networks[0], details=(details,)),)), 1)
    written = {
        "confusion": [[3, 1], [0, 0]],
        "class_accuracies": [0.75, None],
        "expected_calibration_error": 0.1,
        "negative_log_likelihood": 0.5,
        "brier_score": 0.25,
    }
    assert plain["networks"][0]["details"] == [written]
    text = as_text(plain)
    assert json.loads(text) == plain
    assert [line.strip() for line in text.splitlines() if "3, 1" in line] == ["[ 3, 1 ],"]
