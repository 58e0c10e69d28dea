from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
from pathlib import Path

import pytest

from limbeck.cli import main as module
from limbeck.cli.main import VERBS, main
from limbeck.cli.shared import DiversityOptions
from limbeck.cli.teaching import TeacherOptions
from limbeck.core.errors import InputError, Interrupted, RunError
from limbeck.core.execution import ExecutionSettings
from limbeck.data import LoadOptions
from limbeck.engine.settings import Settings
from limbeck.evaluation.protocols import PROTOCOLS
from tests.cli.conftest import Command

FIELDS = {
    "demo": ["out", "seeds", "settings", "json"],
    "list": ["what", "json", "markdown"],
    "show": ["method", "preset", "data", "ipc", "base", "as_", "json"],
    "plan": ["method", "data", "ipc", "out", "preset", "base", "storage", "load", "settings", "json"],
    "distill": [
        *("method", "data", "ipc", "seed", "out", "preset", "base", "storage"),
        *("load", "settings", "json"),
    ],
    "teacher": [
        *("what", "data", "ipc", "epochs", "preset", "base", "out", "test", "load", "settings", "json"),
    ],
    "experts": [
        *("method", "data", "count", "ipc", "preset", "base", "out", "all_epochs", "half", "test"),
        *("load", "settings", "json"),
    ],
    "evaluate": [
        *("run_", "protocol", "networks", "repeats", "length", "learning_rates", "segments", "lr", "data", "labels"),
        *("stored_labels", "taught", "network_cache", "per_class", "metrics", "diversity", "ranking", "attack"),
        *("beside", "curve", "prefix", "seed", "device", "execution", "progress", "load", "json"),
    ],
    "relabel": [
        *("run_", "out", "protocol", "length", "compress", "epochs_kept", "taught", "seed", "data", "load", "settings"),
        "json",
    ],
    "compare": [
        *("methods", "baselines", "data", "ipc", "budget", "cut_after", "seeds", "preset", "protocol", "labels"),
        *("taught", "networks", "distill_networks", "repeats", "length", "lr", "full", "metrics", "diversity", "out"),
        *("load", "settings", "json"),
    ],
    "continual": [
        *("methods", "data", "steps", "ipc", "orders", "preset", "protocol", "networks", "repeats", "length", "full"),
        *("out", "load", "settings", "json"),
    ],
    "export": ["run_", "where", "to", "decoded", "jpeg", "json"],
    "report": ["runs", "out", "overwrite", "files", "json"],
}
"""All flags written by hand. What belongs to a method or a part is a field of it and needs no flag here."""

SHARED = {
    ExecutionSettings: ["precision", "compile", "microbatch", "allocator", "together"],
    Settings: [
        *("precision", "compile", "microbatch", "allocator", "together"),
        *("device", "dtype", "checkpoint_minutes", "progress", "class_block", "blocks", "processes", "snapshots"),
        *("watch", "network_cache"),
    ],
    DiversityOptions: ["teacher", "teacher_epochs", "scatter"],
    TeacherOptions: ["taught_by", "taught_network", "taught_epochs", "taught_mode"],
    LoadOptions: [
        *("validation", "split_seed", "normalization", "image_size", "fit", "channels", "root", "download", "cache"),
        *("image_column", "audio_column", "label_column", "test_fraction", "sample_rate", "seconds"),
        *("stream", "workers", "classes"),
    ],
}

_GROUPS = (
    *(("settings", Settings), ("execution", ExecutionSettings), ("load", LoadOptions)),
    *(("diversity", DiversityOptions), ("taught", TeacherOptions)),
)
"""Fields whose own fields are the flags."""


def names(kind: type) -> list[str]:
    return [item.name for item in dataclasses.fields(kind)]


def test_flags_written_by_hand_are_few_and_known() -> None:
    found = {verb: names(getattr(importlib.import_module(path), kind)) for verb, (path, kind) in VERBS.items()}
    assert found == FIELDS
    assert {kind: names(kind) for kind in SHARED} == SHARED


def test_the_overview_names_every_verb(limbeck: Command) -> None:
    for words, status in (([], 2), (["--help"], 0), (["-h"], 0)):
        done = limbeck(*words)
        assert done.status == status
        assert [verb for verb in VERBS if f"\n  {verb} " not in done.out] == []
        assert done.err == ""


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_for_each_of_its_flags(verb: str, limbeck: Command) -> None:
    done = limbeck(verb, "--help")
    assert done.status == 0
    assert done.out.startswith(f"usage: limbeck {verb} ")
    assert done.err == ""
    path, kind = VERBS[verb]
    positional = {"what", "method", "methods", "run_", "where", "runs"}
    flags = [name for name in names(getattr(importlib.import_module(path), kind)) if name not in positional]
    for group, shared in _GROUPS:
        if group in flags:
            flags.remove(group)
            flags += names(shared)
    assert [flag for flag in flags if f"--{flag.strip('_').replace('_', '-')}" not in done.out] == []


def test_the_version(limbeck: Command) -> None:
    done = limbeck("--version")
    assert done.status == 0
    assert done.out.startswith("limbeck ")


def test_an_unknown_command_is_refused_with_the_nearest(limbeck: Command) -> None:
    done = limbeck("distil", "idc")
    assert done.status == 2
    assert done.sentence == "unknown command 'distil'; did you mean 'distill'?"
    assert limbeck("--frobnicate").status == 2


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (InputError("bad input."), 2, "limbeck: bad input.\n"),
        (RunError("bad run."), 1, "limbeck: bad run.\n"),
        (Interrupted("stopped by SIGTERM."), 1, "limbeck: stopped by SIGTERM.\n"),
        (KeyboardInterrupt(), 1, "limbeck: stopped\n"),
        (PermissionError(13, "Permission denied", "runs"), 1, "limbeck: [Errno 13] Permission denied: 'runs'\n"),
        (SystemExit(2), 2, ""),
        (SystemExit(None), 0, ""),
    ],
)
def test_exit_statuses(
    error: BaseException, status: int, sentence: str, limbeck: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(verb: str, rest: list[str]) -> int:
        raise error

    monkeypatch.setattr(module, "_run", fail)
    done = limbeck("list")
    assert (done.status, done.out, done.err) == (status, "", sentence)


def test_an_error_of_our_own_is_not_hidden(limbeck: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(verb: str, rest: list[str]) -> int:
        raise TypeError("a mistake in limbeck")

    monkeypatch.setattr(module, "_run", fail)
    with pytest.raises(TypeError):
        limbeck("list")


def test_a_reader_that_has_seen_enough_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)

        def listing(verb: str, rest: list[str]) -> int:
            print("x" * 100_000, flush=True)
            return 0

        monkeypatch.setattr(module, "_run", listing)
        assert main(["list"]) == 1


def test_arguments_are_those_of_the_process_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["limbeck", "list", "protocols", "--json"])
    assert main() == 0
    assert {entry["name"] for entry in json.loads(capsys.readouterr().out)} == {*PROTOCOLS}


def test_what_changes_a_recipe_is_no_flag_of_other_verbs(limbeck: Command, finished: Path) -> None:
    done = limbeck("evaluate", finished, "--with", "sampler=random")
    assert done.status == 2
    assert "--with" in done.err
    assert "Traceback" not in done.err
