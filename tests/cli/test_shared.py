from __future__ import annotations

import json
from pathlib import Path

import pytest

from limbeck.cli.shared import (
    DiversityOptions,
    choose_preset,
    choose_recipe,
    chosen_metrics,
    data_of,
    load_again,
    load_data,
    note,
    preset_name,
    print_json,
    run_folder,
    seeds_of,
)
from limbeck.core.errors import InputError
from limbeck.data import LoadOptions
from limbeck.engine.distill import distill
from limbeck.engine.run_file import DataReference
from limbeck.engine.settings import Settings
from limbeck.evaluation.diversity import DiversityProtocol
from limbeck.methods.dc import dc
from limbeck.methods.dream import dream
from limbeck.methods.idc import idc
from limbeck.methods.random import random
from limbeck.registry import method
from tests.data.makers import write_classes, write_tones


@pytest.mark.parametrize(
    ("name", "preset", "data", "chosen"),
    [
        ("idc", None, "digits", "digits"),
        ("idc", None, "CIFAR-10", "cifar10"),
        ("idc", None, "my-pictures", "small"),
        ("idc", "svhn", "digits", "svhn"),
        ("random", None, "cifar10", "default"),
        ("herding", None, "cifar10", "default"),
        ("herding", None, "my-pictures", "small"),
    ],
)
def test_presets(name: str, preset: str | None, data: str, chosen: str) -> None:
    assert choose_preset(method(name), preset, data) == chosen


def test_recipes() -> None:
    assert choose_recipe("idc", None, None, "digits", 10) == idc("digits")
    assert choose_recipe("dc", "cifar10", None, "digits", 50) == dc("cifar10", 50)
    assert choose_recipe("dream", "digits", None, "cifar10", 10) == dream("digits")
    assert choose_recipe("dream", None, "idc", "digits", 10) == dream("digits", base=idc("digits"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("draem", None, None), "unknown method 'draem'; did you mean 'dream'"),
        (("idc", "cifar11", None), "unknown preset of idc 'cifar11'; did you mean 'cifar10'"),
        (("idc", None, "dream"), "method 'idc' takes no base; leave --base out"),
        (("dream", None, "random"), "'random' is a baseline without steps to improve"),
        (("dream", None, "icd"), "unknown method 'icd'"),
    ],
)
def test_wrong_recipes(arguments: tuple[str, str | None, str | None], message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose_recipe(*arguments, "digits", 10)


def test_run_folders_say_what_they_hold() -> None:
    assert run_folder(None, "idc", "digits", "ipc1") == Path("runs/idc-digits-ipc1")
    assert run_folder(Path("here"), "idc") == Path("here")


def test_seeds() -> None:
    assert list(seeds_of(3)) == [0, 1, 2]
    for count in (0, -1):
        with pytest.raises(InputError, match="--seeds must be at least 1"):
            seeds_of(count)


def test_notes_and_results_are_kept_apart(capsys: pytest.CaptureFixture[str]) -> None:
    note("a note")
    print_json({"name": "ünïcode"})
    captured = capsys.readouterr()
    assert captured.err == "a note\n"
    assert json.loads(captured.out) == {"name": "ünïcode"}
    assert "ünïcode" in captured.out


def test_data_are_loaded_again_as_they_were() -> None:
    options = LoadOptions(validation=0.3)
    data = load_data("digits", options)
    reference = DataReference(name="digits", digest=data.spec.digest, source="digits", options=options)
    assert load_again(reference, LoadOptions()).spec.digest == data.spec.digest
    assert load_again(reference, options).spec.digest == data.spec.digest
    with pytest.raises(InputError, match="name them with --data to load them otherwise"):
        load_again(reference, LoadOptions(image_size=4))


def test_metrics_are_named_once() -> None:
    assert chosen_metrics(["diversity", "accuracy"]) == ("diversity", "accuracy")
    for wrong in ([], ["accuracy", "accuracy"]):
        with pytest.raises(InputError, match="each once"):
            chosen_metrics(wrong)  # type: ignore[arg-type]


def test_options_of_diversity_are_a_protocol() -> None:
    assert DiversityOptions().protocol() == DiversityProtocol()
    found = DiversityOptions(teacher="mlp", teacher_epochs=3, scatter="none").protocol()
    assert (found.network, found.epochs, found.projection) == ("mlp", 3, "none")


def test_presets_of_sound_are_those_of_speech(tmp_path: Path) -> None:
    for name in ("words", "mini_speech_commands", "digits"):
        write_tones(tmp_path / name, {"a": 1})
    write_classes(tmp_path / "pictures", {"a": 1})
    spoken = choose_preset(method("idc"), None, preset_name(str(tmp_path / "mini_speech_commands")))
    assert spoken == "mini-speech-commands"
    # Other sound gets what suits a CPU, whatever pictures may be called like it.
    assert [preset_name(str(tmp_path / name)) for name in ("words", "digits")] == ["fsdd", "fsdd"]
    assert preset_name(str(tmp_path / "pictures")) == "pictures"
    assert preset_name("cifar10") == "cifar10"


def test_presets_of_a_published_subset_are_found_by_its_name() -> None:
    assert preset_name("data/ILSVRC2012", "ImageNet-10") == preset_name("imagenet", ("imagenet10",)) == "imagenet10"
    assert preset_name("data/ILSVRC2012", ("a", "b")) == "ILSVRC2012"
    assert choose_preset(method("idc"), None, preset_name("data/ILSVRC2012", "imagenet10")) == "imagenet10"


def test_settings_of_ours_are_not_published_ones() -> None:
    # What DC has for pictures on a CPU is nearer to spoken digits than its settings for CIFAR-10.
    assert choose_preset(method("dc"), None, "fsdd") == "small"
    assert choose_preset(method("random"), None, "cifar10") == choose_preset(method("random"), "default", "fsdd")


def test_data_and_set_are_whitened_alike(tmp_path: Path) -> None:
    data = load_data("digits", LoadOptions(normalization="zca"))
    made = distill(random(), data, ipc=1, out=tmp_path / "run", settings=Settings(progress="quiet", device="cpu"))
    again = data_of(tmp_path / "run", made, None, LoadOptions())
    assert again.spec.normalization == data.spec.normalization
    assert data_of(tmp_path / "run", made, "digits", LoadOptions(normalization="zca")).spec == data.spec
    with pytest.raises(InputError, match=r"not whitened alike \(whitened and normalized \(measured\)\)"):
        data_of(tmp_path / "run", made, "digits", LoadOptions())
