from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from limbeck.cli.ranking import labels_for_both, rankings_folder
from limbeck.core.errors import InputError
from limbeck.evaluation.labels import Stored
from tests.cli.conftest import Command

QUICK = ["--networks", "mlp", "--length", "3", "--progress", "quiet", "--device", "cpu", "--metrics", "ranking"]
QUICK += ["--ranking-runs", "2", "--learning-rates", "0.01", "0.05"]


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_scores_are_written_in_both_forms_and_shown(limbeck: Command, run: Path) -> None:
    scores = limbeck("evaluate", run, *QUICK, "--json").json["ranking"]
    file = Path(scores.pop("file"))
    assert json.loads(file.read_text()) == scores
    assert len(scores["runs"]) == 2
    rows = list(csv.DictReader(file.with_suffix(".csv").read_text().splitlines()))
    assert list(rows[0])[:3] == ["hard_label_recovery", "improvement_over_random", "lrs"]
    assert [float(row["lrs"]) for row in rows] == [one["lrs"] for one in scores["runs"]]
    done = limbeck("evaluate", run, *QUICK, "--ranking-augmentation")
    assert all(words in done.out for words in ("HLR", "IOR", "LRS", "ARS"))
    assert "in DD-Ranking's columns" in done.err


def test_a_configuration_of_dd_ranking(limbeck: Command, run: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "dataset: digits\nipc: 1\nim_size: [8, 8]\nmodel_name: MLP\nnum_eval: 1\nnum_epochs: 2\nsyn_batch_size: 128\n"
        "real_batch_size: 512\ndevice: cuda\n"
    )
    words = ["--metrics", "ranking", "--ranking-config", config, "--device", "cpu", "--progress", "quiet", "--json"]
    done = limbeck("evaluate", run, *words)
    protocol = done.json["ranking"]["protocol"]
    assert (protocol["base"]["networks"], protocol["base"]["length"], protocol["runs"]) == (["mlp"], 2, 1)
    assert "'device' has no effect, --device says where to compute" in done.err
    refused = limbeck("evaluate", run, *words, "--networks", "mlp")
    assert refused.status == 2 and "leave --networks" in refused.sentence


def test_options_without_their_metric_are_refused(limbeck: Command, run: Path) -> None:
    done = limbeck("evaluate", run, "--ranking-runs", "2")
    assert done.status == 2
    assert "add --metrics ranking" in done.sentence


def test_stored_labels_belong_to_the_set_alone() -> None:
    assert labels_for_both(None) is None
    with pytest.raises(InputError, match="belong to the set alone"):
        labels_for_both(Stored(None))  # type: ignore[arg-type]


def test_where_accuracies_of_all_real_images_are_kept(tmp_path: Path) -> None:
    assert rankings_folder(False) is None
    assert rankings_folder(tmp_path) == tmp_path / "rankings"
    usual = rankings_folder(True)
    assert usual is not None and usual.name == "rankings"
