from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from limbeck.cli.teaching import TeacherOptions, named_teacher, teacher_of
from limbeck.core.errors import InputError
from limbeck.data import Data
from limbeck.engine.settings import Settings
from tests.evaluation.taught import PoolWithTeacher, by_teacher, random_set

QUIET = Settings(device="cpu", progress="quiet", network_cache=False)


def test_nobody_is_named(digits: Data) -> None:
    assert named_teacher(TeacherOptions(), digits, QUIET) is None
    with pytest.raises(InputError, match="name it with --taught-by"):
        named_teacher(TeacherOptions(taught_network="mlp"), digits, QUIET)


def test_the_recipe_of_a_set_brings_its_teacher(digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    one = random_set()
    # A recipe with this pool would not be checked by the engine; its surroundings are those of any other.
    monkeypatch.setattr("limbeck.core.recipe.Recipe.check", lambda self, context=None: None)
    monkeypatch.setattr("limbeck.engine.distill.flops", lambda recipe, context: 0.0)
    taught = replace(one, recipe=replace(one.recipe, pool=PoolWithTeacher()))  # type: ignore[arg-type]
    assert teacher_of(taught, TeacherOptions(), digits, QUIET, print).digest == by_teacher().digest
    other = TeacherOptions(taught_by="convnet1:width=4,norm=batch", taught_epochs=1)
    assert teacher_of(taught, other, digits, QUIET, print).digest != by_teacher().digest
    with pytest.raises(InputError, match="brings no teacher"):
        teacher_of(one, TeacherOptions(), digits, QUIET, print)


def test_options_without_effect_are_refused(digits: Data, tmp_path: Path) -> None:
    path = tmp_path / "known.safetensors"
    path.write_bytes(b"")
    for options, message in (
        (TeacherOptions(taught_by=str(path), taught_epochs=1), "a checkpoint brings its own training"),
        (TeacherOptions(taught_by=str(tmp_path), taught_epochs=1), "the run brings its own training"),
        (TeacherOptions(taught_by="mlp", taught_network="mlp"), "a network says for itself"),
    ):
        with pytest.raises(InputError, match=message):
            named_teacher(options, digits, QUIET)
