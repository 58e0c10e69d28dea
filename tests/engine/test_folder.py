from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from limbeck import registry
from limbeck.core.errors import InputError
from limbeck.data import LoadOptions
from limbeck.engine.folder import RunFolder
from limbeck.engine.journal import LOG
from limbeck.engine.run_file import FILE, read_run_file
from limbeck.initializers.real import Mixed
from limbeck.parametrizations.partition import Partition
from tests.engine.test_run_file import run_file
from tests.evaluation.taught import random_set


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_folder_holds_the_run_file_only(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "deep" / "run", run_file())
    assert list(files(folder.path)) == [FILE]
    assert not folder.finished()


def test_the_same_run_opens_it_again(tmp_path: Path) -> None:
    RunFolder(tmp_path / "run", run_file())
    before = files(tmp_path)
    RunFolder(tmp_path / "run", run_file())
    assert files(tmp_path) == before


def test_an_empty_folder_can_be_used(tmp_path: Path) -> None:
    RunFolder(tmp_path, run_file())
    assert list(files(tmp_path)) == [FILE]


def test_a_file_that_was_half_written_at_the_very_start_does_not_block_it(tmp_path: Path) -> None:
    (tmp_path / ".tmp-00-run.yaml").write_text("format")
    RunFolder(tmp_path, run_file())
    assert (tmp_path / FILE).is_file()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 8}, "its seed is 7, now 8 is asked for"),
        ({"ipc": 4}, "its ipc is 3, now 4"),
        ({"storage": "float32"}, "its storage is 'uint8', now 'float32'"),
        ({"recipe": run_file().recipe.with_(optimizer__lr=0.5)}, "its recipe.optimizer.lr is 0.02, now 0.5"),
        ({"data": replace(run_file().data, digest="1" * 32)}, "its data.digest is"),
        ({"data": replace(run_file().data, whitened=True)}, "its data.whitened is False, now True"),
        (
            {
                "data": replace(
                    run_file().data, options=LoadOptions.of(run_file().data.options, {"normalization": "zca"})
                )
            },
            "its data.options.normalization is 'measured', now 'zca'",
        ),
    ],
)
def test_another_run_is_refused_and_the_folder_untouched(tmp_path: Path, change: dict[str, object], named: str) -> None:
    RunFolder(tmp_path, run_file())
    before = files(tmp_path)
    with pytest.raises(InputError) as caught:
        RunFolder(tmp_path, replace(run_file(), **change))  # type: ignore[arg-type]
    assert named in str(caught.value)
    assert files(tmp_path) == before


def test_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not empty and holds no run"):
        RunFolder(tmp_path, run_file())
    assert files(tmp_path) == {"thesis.tex": b"years of work"}


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(InputError, match="is a file; give a folder"):
        RunFolder(tmp_path / "file", run_file())
    with pytest.raises(InputError, match="cannot be written"):
        RunFolder(tmp_path / "file" / "below", run_file())


def test_what_cannot_be_written_to_a_run_file_makes_no_folder(tmp_path: Path) -> None:
    run = replace(run_file(), recipe=run_file().recipe.with_(optimizer__lr=float("inf")))
    with pytest.raises(InputError, match="finite"):
        RunFolder(tmp_path / "run", run)
    assert files(tmp_path) == {}
    assert not (tmp_path / "run").exists()


def test_rewinding_drops_later_and_half_written_lines(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, run_file())
    for step in (1, 2, 3):
        folder.log({"step": step, "loss": 1 / step, "seconds": float(step)})
    with (tmp_path / LOG).open("a") as file:
        file.write('{"step": 4, "lo')
    assert folder.rewind_log(2) == 2.0
    assert [json.loads(line)["step"] for line in (tmp_path / LOG).read_text().splitlines()] == [1, 2]
    folder.log({"step": 3, "loss": 0.1, "seconds": 3.0})
    assert [json.loads(line)["step"] for line in (tmp_path / LOG).read_text().splitlines()] == [1, 2, 3]
    assert folder.rewind_log(0) == 0.0
    assert (tmp_path / LOG).read_text() == ""


def test_rewinding_without_a_log_is_nothing(tmp_path: Path) -> None:
    assert RunFolder(tmp_path, run_file()).rewind_log(5) == 0.0
    assert not (tmp_path / LOG).exists()


def test_a_folder_with_a_damaged_run_file_is_refused(tmp_path: Path) -> None:
    RunFolder(tmp_path, run_file())
    (tmp_path / FILE).write_text("{")
    with pytest.raises(InputError, match=r"run\.yaml is no YAML file"):
        RunFolder(tmp_path, run_file())


def test_torch_is_not_asked_to_save_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints hold no pickles."""
    monkeypatch.setattr(torch, "save", None)
    monkeypatch.setattr(torch, "load", None)
    folder = RunFolder(tmp_path, run_file())
    folder.checkpoints.save(1, {"rows": torch.arange(3)})
    latest = folder.checkpoints.latest(torch.device("cpu"))
    assert latest is not None
    assert latest["rows"].tolist() == [0, 1, 2]


def test_a_run_begun_before_fields_were_added_is_the_same_run(tmp_path: Path) -> None:
    run = replace(run_file(), recipe=run_file().recipe.with_(initializer=Mixed(), parametrization=Partition()))
    RunFolder(tmp_path, run)
    plain = yaml.safe_load((tmp_path / FILE).read_text())
    for slot, kind in (("initializer", Mixed), ("parametrization", Partition)):
        for name in kind.added:
            del plain["recipe"][slot][name]
    (tmp_path / FILE).write_text(yaml.safe_dump(plain))
    assert read_run_file(tmp_path, registry.parts()) == run
    before = files(tmp_path)
    RunFolder(tmp_path, run)
    assert files(tmp_path) == before
    other = replace(run, recipe=run.recipe.with_(initializer__choice="first"))
    with pytest.raises(InputError, match=r"its recipe\.initializer\.choice is 'random', now 'first' is asked for"):
        RunFolder(tmp_path, other)


def test_what_was_learnt_beside_the_pixels_is_read_back(tmp_path: Path) -> None:
    one = random_set()
    chances = torch.rand(10, 2, 10, generator=torch.Generator().manual_seed(0)).softmax(-1)
    learnt = {"student_lr": torch.tensor(0.0123, dtype=torch.float64), "labels": chances}
    folder = RunFolder(tmp_path / "run", run_file())
    folder.finish(replace(one, learnt=learnt), {"steps": 1})
    read = RunFolder(tmp_path / "run", run_file()).result(one)
    assert set(read.learnt) == set(learnt) and one.learnt == {}
    assert all(torch.equal(read.learnt[name], tensor) for name, tensor in learnt.items())
