from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from limbeck import registry
from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.data import LoadOptions
from limbeck.engine.folder import RunFolder
from limbeck.engine.run_file import FILE, DataReference, RunFile, read_run_file, write_run_file
from limbeck.methods.random import random
from tests.engine.tiny import tiny_dream, tiny_idc

ADDED = ("audio_column", "sample_rate", "seconds", "stream", "workers", "classes", "cut_after")


def run_file(recipe: Recipe | None = None) -> RunFile:
    options = LoadOptions(validation=0.25, image_size=(4, 8), root=Path("somewhere"))
    return RunFile(
        data=DataReference(name="digits", digest="0" * 32, source="digits", options=options),
        ipc=3,
        seed=7,
        dtype="float32",
        precision="float32",
        storage="uint8",
        recipe=recipe or tiny_idc(),
    )


@pytest.mark.parametrize("recipe", [tiny_idc(), tiny_dream(), random()], ids=lambda recipe: recipe.name)
def test_a_run_file_round_trips_exactly(tmp_path: Path, recipe: Recipe) -> None:
    run = run_file(recipe)
    write_run_file(tmp_path, run)
    assert read_run_file(tmp_path, registry.parts()) == run
    assert read_run_file(tmp_path / FILE, registry.parts()) == run


@pytest.mark.parametrize("classes", ["imagenette", "3", ("3",), ("n01440764", "n02102040")])
def test_chosen_classes_round_trip(tmp_path: Path, classes: str | tuple[str, ...]) -> None:
    options = LoadOptions(classes=classes, stream="on", workers=2)
    run = replace(run_file(), data=replace(run_file().data, options=options))
    write_run_file(tmp_path, run)
    assert read_run_file(tmp_path, registry.parts()) == run


def test_data_handed_over_in_python_have_no_source(tmp_path: Path) -> None:
    run = replace(run_file(), data=DataReference(name="mine", digest="ab", source=None, options=None))
    write_run_file(tmp_path, run)
    assert read_run_file(tmp_path, registry.parts()) == run


@pytest.mark.parametrize("value", [1e-5, 5e-3, 1e22, 0.1 + 0.2, 1 / 3])
def test_numbers_keep_every_bit(tmp_path: Path, value: float) -> None:
    run = run_file(tiny_idc().with_(optimizer__lr=value))
    write_run_file(tmp_path, run)
    assert read_run_file(tmp_path, registry.parts()) == run


def test_every_field_is_written(tmp_path: Path) -> None:
    write_run_file(tmp_path, run_file())
    plain = yaml.safe_load((tmp_path / FILE).read_text(encoding="utf-8"))
    assert list(plain) == ["format", "data", "ipc", "seed", "dtype", "precision", "storage", "recipe", "cut_after"]
    assert plain["recipe"]["optimizer"]["momentum"] == 0.5
    assert plain["recipe"]["pool"]["training"]["weight_decay"] == 5e-4


CHANGES = {
    "ipc: 3": ("ipc: three", "run.yaml.ipc must be a whole number, not 'three'"),
    "seed: 7": ("sed: 7", "unknown field of run.yaml 'sed'; did you mean 'seed'"),
    "storage: uint8\n": ("", "run.yaml.storage is missing"),
    "storage: uint8": ("storage: int8", "unknown value of run.yaml.storage 'int8'; did you mean 'uint8'"),
    "format: 1": ("format: 2", "format 2; this version reads format 1"),
    "part: epochwise": ("part: epochwize", "unknown part of run.yaml.recipe.sampler 'epochwize'"),
    "batch_size: 8": ("batch_size: 8.0", "run.yaml.recipe.sampler.batch_size must be a whole number"),
    "clamp: true": ("clamp: 1", "run.yaml.recipe.optimizer.clamp must be true or false"),
    "  lr: 0.02": ("  lr: .nan", "run.yaml.recipe.optimizer.lr"),
}


@pytest.mark.parametrize("old", CHANGES)
def test_reading_is_strict_and_says_where(tmp_path: Path, old: str) -> None:
    write_run_file(tmp_path, run_file())
    text = (tmp_path / FILE).read_text(encoding="utf-8")
    new, message = CHANGES[old]
    assert text.count(old) >= 1
    (tmp_path / FILE).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_run_file(tmp_path, registry.parts())
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"\tformat: 1\n", b"a: [1, 2\n", b"\xff\xfe\x00", b"- 1\n- 2\n", b"", b"just a text"]
)
def test_what_is_no_run_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(InputError, match=r"run\.yaml is no"):
        read_run_file(tmp_path, registry.parts())


def test_no_code_of_a_run_file_is_run(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("!!python/object/apply:os.mkdir [made]\n", encoding="utf-8")
    with pytest.raises(InputError, match="no YAML"):
        read_run_file(tmp_path, registry.parts())


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no run file"):
        read_run_file(tmp_path / "run.yaml", registry.parts())


def test_a_run_file_from_before_there_were_options_of_sound_and_streams_is_read_and_resumed(tmp_path: Path) -> None:
    run = run_file()
    write_run_file(tmp_path, run)
    file = tmp_path / FILE
    kept = [line for line in file.read_text(encoding="utf-8").splitlines() if line.split(":")[0].strip() not in ADDED]
    assert len(kept) == len(file.read_text(encoding="utf-8").splitlines()) - len(ADDED)
    file.write_text("\n".join(kept) + "\n", encoding="utf-8")
    assert read_run_file(tmp_path, registry.parts()) == run
    RunFolder(tmp_path, run)
    with pytest.raises(InputError, match=r"its data\.options\.seconds is 1\.0, now 2\.0"):
        options = replace(run.data.options or LoadOptions(), seconds=2.0)
        RunFolder(tmp_path, replace(run, data=replace(run.data, options=options)))
