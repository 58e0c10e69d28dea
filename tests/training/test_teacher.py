from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from limbeck.augmentations.crop_flip import CropFlip
from limbeck.core.context import Context
from limbeck.core.errors import InputError, RunError
from limbeck.core.network import Weights
from limbeck.core.plain import decode_dataclass, encode
from limbeck.core.real import DataSpec, Normalization
from limbeck.core.streams import Streams
from limbeck.data.images import ImageSet
from limbeck.networks.imagenet_classes import WORDNET_NUMBERS
from limbeck.registry import parts
from limbeck.storage.weights import write_weights
from limbeck.training.pretraining import pretrained
from limbeck.training.schedules import Schedule
from limbeck.training.settings import Training
from limbeck.training.teacher import Teacher

NETWORK = "convnet1:width=4,norm=batch"
TRAINING = Training(lr=0.05, batch_size=12, augmentation=CropFlip(padding=1, flip=False))
TEACHER = Teacher(network=NETWORK, training=TRAINING, epochs=3)
WHERE = "pool 'x'"


def same(one: Weights, other: Weights) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def context(context_of: Callable[..., Context]) -> Context:
    return context_of()


def test_it_is_a_network_of_the_cache_whatever_the_run_s_seed(
    context_of: Callable[..., Context], tmp_path: Path
) -> None:
    said: list[str] = []
    one, other = (context_of(seed=seed, cache=tmp_path, say=said.append) for seed in (1, 2))
    TEACHER.check(one, WHERE)
    assert TEACHER.kept(other) == 0.0
    found = TEACHER.load(one)
    assert TEACHER.kept(other) == 1.0 and replace(TEACHER, weights="random").kept(other) == 0.0
    (expected,) = pretrained(context_of(), NETWORK, TRAINING, 3, 1, 0, Schedule(kind="cosine"))
    assert same(found, expected) and same(TEACHER.load(other), expected)
    assert [line.split(" ")[0] for line in said] == ["training", "network"]
    own = [replace(TEACHER, seed=None).load(context) for context in (one, other)]
    assert not same(*own)
    assert TEACHER.passes(one) == 3 * 3 * 36 and TEACHER.digest(one) == ""


def test_it_is_plain_data() -> None:
    plain = json.loads(json.dumps(encode(TEACHER)))
    assert decode_dataclass(Teacher, plain, "teacher", parts()) == TEACHER


def test_a_random_one_costs_nothing(context: Context) -> None:
    teacher = replace(TEACHER, weights="random")
    teacher.check(context, WHERE)
    assert same(teacher.load(context), context.network(NETWORK).initial(Streams(0)("random teacher")))
    assert teacher.passes(context) == 0.0 and teacher.digest(context) == ""
    assert not same(teacher.load(context), replace(teacher, seed=None).load(replace(context, streams=Streams(5))))


def test_the_form_with_batch_norm(context: Context) -> None:
    teacher = replace(TEACHER, network="convnet1:width=4", batch_norm=True)
    assert teacher.architecture(context).name == NETWORK
    assert any(name.endswith("running_mean") for name in replace(teacher, weights="random").load(context))
    with pytest.raises(InputError, match="has no form with batch norm"):
        replace(teacher, network="mlp").check(context, WHERE)


@pytest.mark.parametrize("form", ["ours", "header", "pth", "safetensors and json", "list"])
def test_checkpoints_that_name_the_classes(context: Context, tmp_path: Path, form: str) -> None:
    weights, names = TEACHER.load(context), context.spec.class_names
    path = tmp_path / ("net.pth" if form in ("pth", "list") else "net.safetensors")

    def write(class_names: tuple[str, ...]) -> None:
        if form in ("ours", "header"):
            write_weights(path, weights, NETWORK, class_names)
            return
        if path.suffix == ".pth":
            torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in weights.items()}}, path)
        else:
            write_weights(path, weights, NETWORK)
        content: Any = list(class_names) if form == "list" else {"class_names": list(class_names), "accuracy": 0.5}
        path.with_suffix(".json").write_text(json.dumps(content), encoding="utf-8")

    said: list[str] = []
    context = replace(context, say=said.append)
    teacher = replace(TEACHER, weights=str(path))
    write(names)
    teacher.check(context, WHERE)
    assert same(teacher.load(context, teacher.digest(context)), weights) and said == []
    assert teacher.passes(context) == 0.0
    write((names[1], names[0], names[2]))
    sentence = f"knows class 0 as '{names[1]}' and 'digits' as '{names[0]}'; load the data with their classes"
    with pytest.raises(InputError, match=sentence):
        teacher.check(context, WHERE)
    write((*names, "more"))
    with pytest.raises(InputError, match="knows 4 classes and 'digits' has 3"):
        teacher.check(context, WHERE)


def test_a_checkpoint_that_names_no_classes_is_taken_with_a_warning(context: Context, tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / "net.safetensors"
    weights = TEACHER.load(context)
    write_weights(path, weights, NETWORK)
    teacher = replace(TEACHER, weights=str(path))
    teacher.check(replace(context, say=said.append), WHERE)
    (line,) = said
    assert line.startswith(f"warning: {path} does not say which classes it knows")
    path.with_suffix(".json").write_text('["0", 1]')
    with pytest.raises(InputError, match="does not say the names of classes as a list of texts"):
        teacher.check(context, WHERE)


def test_another_file_than_the_run_began_with_is_noticed(context: Context, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    weights = TEACHER.load(context)
    write_weights(path, weights, NETWORK, context.spec.class_names)
    teacher = replace(TEACHER, weights=str(path))
    began = teacher.digest(context)
    assert len(began) == 64 and same(teacher.load(context, began), weights)
    write_weights(path, {**weights, "classifier.bias": weights["classifier.bias"] + 1}, NETWORK)
    assert teacher.digest(context) != began
    with pytest.raises(RunError, match="is not the file that this run began with"):
        teacher.load(context, began)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"epochs": 0}, "the teacher of pool 'x' needs epochs >= 1, not 0"),
        ({"training": Training(lr=0.0)}, "training of the teacher of pool 'x' needs lr > 0"),
        ({"schedule": Schedule(warmup=-1)}, "the schedule of the teacher of pool 'x' needs warmup >= 0"),
        ({"training": Training(augmentation=CropFlip(padding=9))}, "needs 0 <= padding <= 8"),
        ({"network": "convnet33333"}, "convnet"),
        ({"weights": "Trained"}, "has weights 'Trained', which is no file; give the path of a checkpoint"),
        ({"weights": "torchvision"}, "for torchvision's models only"),
        ({"weights": "torchvision", "network": "torchvision:resnet18"}, "has no class"),
        ({"weights": "torchvision:V9", "network": "torchvision:resnet18"}, "unknown weights of torchvision's"),
        ({"weights": "timm", "network": "torchvision:resnet18"}, "timm has weights for its own models only"),
        ({"weights": "timm", "network": "timm:resnet10t"}, "has no class"),
        (
            {"weights": "timm:miil_in21k", "network": "timm:mobilenetv3_large_100"},
            "knows 11221 classes, other than ImageNet-1K's",
        ),
    ],
)
def test_what_cannot_be_is_refused(context: Context, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        replace(TEACHER, **changes).check(context, WHERE)


def test_another_network_in_the_file_is_refused(context: Context, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    write_weights(path, TEACHER.load(context), NETWORK)
    with pytest.raises(InputError, match="does not hold network 'convnet1:width=8,norm=batch'"):
        replace(TEACHER, network="convnet1:width=8,norm=batch", weights=str(path)).check(context, WHERE)


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_library_s_weights_of_some_classes(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of the classifier follow the WordNet numbers of the data, in whatever order they stand."""
    names = (WORDNET_NUMBERS[217], WORDNET_NUMBERS[0], WORDNET_NUMBERS[999])
    spec = DataSpec("three", 3, 96, 96, names, Normalization((0.5,) * 3, (0.2,) * 3), "three")
    data = ImageSet(torch.zeros(3, 3, 96, 96, dtype=torch.uint8), torch.arange(3), spec)
    from limbeck.networks import build

    context = Context(data=data, ipc=1, streams=Streams(0), build=build)
    teacher = Teacher(network=f"{library}:resnet18", weights=library)
    teacher.check(context, WHERE)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = torchvision.models.resnet18(weights=None)
    module = {"torchvision": "pretrained", "timm": "pretrained_timm"}[library]
    monkeypatch.setattr(f"limbeck.networks.{module}._download", lambda model, chosen: body.state_dict())
    found = teacher.load(context)
    assert torch.equal(found["classifier.weight"], body.fc.weight.detach()[[217, 0, 999]])
    assert torch.equal(found["classifier.bias"], body.fc.bias.detach()[[217, 0, 999]])
