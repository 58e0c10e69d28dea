"""A package of somebody else (tests/plugin), as pip installs it, in the battery and on the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import limbeck as lb
from limbeck import combinations, registry
from tests.cli.conftest import Command, limbeck

__all__ = ["limbeck"]

PLUGIN = Path(__file__).resolve().parent.parent / "plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package and its metadata, as an installation of its pyproject.toml leaves it."""
    folder = tmp_path_factory.mktemp("site")
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    package = project["name"].replace("-", "_")
    shutil.copytree(PLUGIN / "src" / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    information = folder / f"{package}-{project['version']}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in points.items()))
    ]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package is there while a test runs."""
    registry._parts.cache_clear()
    monkeypatch.syspath_prepend(site)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "limbeck_typical"]:
        del sys.modules[name]
    registry._parts.cache_clear()


def test_its_own_tests_pass(site: Path, tmp_path: Path) -> None:
    # In a process of its own, where the package is installed from the start: the battery is called by its tests.
    shutil.copytree(PLUGIN / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site), *sys.path]),
        "LIMBECK_CACHE": str(tmp_path / "cache"),
    }
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "--rootdir", str(tmp_path), "tests"]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_it_is_listed_and_shown(installed: None, limbeck: Command) -> None:
    entries = {entry["name"]: entry for entry in limbeck("list", "methods", "--json").json}
    assert entries["typical"]["summary"].startswith("Typical: distribution matching")
    assert entries["typical"]["presets"] == ["cifar10", "digits"]
    (sampler,) = [one for one in limbeck("list", "samplers", "--json").json if one["name"] == "typical"]
    assert sampler["fields"] == ["batch_size", "share"]
    shown = limbeck("show", "typical", "--preset", "digits", "--sampler.share", "0.25", "--json").json
    assert shown["sampler"] == {"part": "typical", "batch_size": 64, "share": 0.25}


def test_it_is_distilled_by_the_command_line_and_read_back(installed: None, limbeck: Command, tmp_path: Path) -> None:
    words = ["--preset", "digits", "--ipc", "1", "--curriculum.iterations", "2", "--pool.network", "convnet2:width=4"]
    done = limbeck("distill", "typical", *words, "--progress", "quiet", "--device", "cpu", "--out", tmp_path / "run")
    assert done.status == 0, done.err
    assert yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["recipe"]["sampler"]["part"] == "typical"
    assert lb.load(tmp_path / "run").recipe.sampler is not None
    # Its part goes with the methods of others.
    mixed = limbeck("show", "dc", "--with", "sampler=typical", "--json").json
    assert mixed["sampler"]["part"] == "typical"


def test_it_is_combined_with_add_ons(installed: None) -> None:
    found = {one.add_on: one for one in combinations.verdicts() if one.method == "typical"}
    assert found["sampler"].outcome == found["initializer"].outcome == found["partition"].outcome == "runs"
    assert found["labels"].reason.startswith("labeler 'by_pool' of recipe 'typical' needs labelling networks")
    # The page of the docs is about our own.
    assert "typical" not in combinations.page()
