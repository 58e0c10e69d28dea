from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from limbeck.augmentations.crop_flip import CropFlip
from limbeck.augmentations.idc_augment import IDCAugment
from limbeck.core.context import Context
from limbeck.core.execution import Execution
from limbeck.core.executor import Executor
from limbeck.core.network import Weights
from limbeck.core.streams import Streams
from limbeck.data import Data
from limbeck.data.images import ImageSet
from limbeck.training import halfway, pretraining
from limbeck.training.pretraining import cache_folder, cache_key, kept_share, pretrained
from limbeck.training.schedules import Schedule
from limbeck.training.supervised import Training

NETWORK = "convnet1:width=4"
TRAINING = Training(lr=0.02, batch_size=16)


def networks(context: Context, count: int = 3, seed: int | None = None, epochs: int = 2) -> list[Weights]:
    return list(pretrained(context, NETWORK, TRAINING, epochs, count, seed))


def same(ours: Weights, theirs: Weights) -> bool:
    return list(ours) == list(theirs) and all(
        torch.equal(ours[name], theirs[name]) and ours[name].dtype == theirs[name].dtype for name in ours
    )


def trained(said: list[str]) -> list[str]:
    return [message for message in said if message.startswith("training")]


def test_networks_are_trained_like_a_plain_loop(context_of: Callable[..., Context]) -> None:
    context = context_of()
    module = context.network(NETWORK)._make().double()
    module.load_state_dict(context.network(NETWORK).initial(context.streams("pretrained network", 1)))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    streams = Streams(context.streams("pretraining", 1).seed)
    for epoch in range(2):
        for rows in streams("epoch", epoch).permutation(36).split(16):
            optimizer.zero_grad()
            logits = module(context.spec.normalization.apply(context.data.images(rows)))
            F.cross_entropy(logits, context.data.labels[rows]).backward()
            optimizer.step()
    found = networks(context)[1]
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-12, msg=name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("network", [NETWORK, "convnet1:width=4,norm=batch"])
def test_what_was_trained_before_is_taken_to_the_bit(
    context_of: Callable[..., Context], tmp_path: Path, dtype: torch.dtype, network: str
) -> None:
    def get(**changes: Any) -> tuple[list[Weights], list[str]]:
        said: list[str] = []
        context = context_of(dtype=dtype, say=said.append, **changes)
        return list(pretrained(context, network, TRAINING, 2, 2)), said

    plain, _ = get()
    first, said = get(cache=tmp_path)
    assert said == [f"training network {number} of 2 on real images" for number in (1, 2)]
    second, said = get(cache=tmp_path)
    assert [message.split(" before")[0] for message in said] == [
        f"network {number} of 2 was trained" for number in (1, 2)
    ]
    for one, two, three in zip(plain, first, second, strict=True):
        assert same(one, two) and same(one, three)
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["0000.safetensors", "0001.safetensors"]


def test_more_networks_use_those_that_are_there(context_of: Callable[..., Context], tmp_path: Path) -> None:
    said: list[str] = []
    context = context_of(cache=tmp_path, say=said.append)
    few = networks(context, 1)
    shares = [kept_share(context, NETWORK, TRAINING, epochs, count) for epochs, count in ((2, 1), (2, 3), (3, 1))]
    assert shares == [1.0, pytest.approx(1 / 3), 0.0]
    assert kept_share(context_of(), NETWORK, TRAINING, 2, 1) == 0.0
    many = networks(context, 3)
    assert same(few[0], many[0]) and not same(many[0], many[1])
    assert trained(said) == [
        "training network 1 of 1 on real images",
        *(f"training network {number} of 3 on real images" for number in (2, 3)),
    ]


def test_one_that_was_killed_goes_on_with_the_next(context_of: Callable[..., Context], tmp_path: Path) -> None:
    context = context_of(cache=tmp_path)
    begun = pretrained(context, NETWORK, TRAINING, 2, 3, None)
    kept = [next(begun), next(begun)]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        patch.setattr(pretraining, "keep_weights", cut)  # killed while the third is written
        next(begun)
    said: list[str] = []
    found = networks(replace(context, say=said.append))
    assert trained(said) == ["training network 3 of 3 on real images"]
    assert all(map(same, kept, found)) and same(found[2], networks(context_of())[2])


def cut(*arguments: Any) -> None:
    raise RuntimeError("power cut")


@pytest.mark.parametrize("damage", ["empty", "cut", "number", "text", "other", "folder"])
def test_a_damaged_file_is_trained_again(context_of: Callable[..., Context], tmp_path: Path, damage: str) -> None:
    context = context_of(cache=tmp_path)
    expected = networks(context, 2)
    first, second = sorted(tmp_path.rglob("*.safetensors"))
    content = bytearray(first.read_bytes())
    content[-5] ^= 1  # one bit of one number
    spoilt = {"empty": b"", "cut": content[:-9], "number": content, "text": b"no network"}
    if damage == "other":
        networks(replace(context, cache=tmp_path / "wide"), 1)
        wide = pretrained(replace(context, cache=tmp_path / "wide"), "convnet1:width=8", TRAINING, 1, 1)
        assert len(list(wide)) == 1
        first.write_bytes(
            max((tmp_path / "wide").rglob("*.safetensors"), key=lambda path: path.stat().st_size).read_bytes()
        )
    elif damage == "folder":
        first.unlink()
    else:
        first.write_bytes(bytes(spoilt[damage]))
    said: list[str] = []
    found = networks(replace(context, say=said.append), 2)
    assert all(map(same, expected, found))
    assert trained(said) == ["training network 1 of 2 on real images"]
    content[-5] ^= 1
    assert damage == "other" or first.read_bytes() == bytes(content)  # the same bytes again
    assert second.is_file()


def test_a_cache_that_cannot_be_written_is_a_warning(context_of: Callable[..., Context], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="set network_cache .--network-cache. to another folder"):
        found = networks(context_of(cache=tmp_path / "file"), 1)
    assert same(found[0], networks(context_of(), 1)[0])


def test_the_key_knows_all_that_decides_the_numbers(
    context_of: Callable[..., Context],
    portion: Callable[..., ImageSet],
    whitened: Data,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def key(context: Context | None = None, **changes: Any) -> str:
        asked = {"network": NETWORK, "training": TRAINING, "epochs": 2, "seed": 0, **changes}
        return cache_key(context or context_of(), **asked)

    other, normal, larger, white, zero = (portion() for _ in range(5))
    other.spec = replace(other.spec, digest="other")
    normal.spec = replace(normal.spec, normalization=replace(normal.spec.normalization, std=(0.7,)))
    larger.spec = replace(larger.spec, height=9)
    white.spec = replace(white.spec, normalization=whitened.spec.normalization)
    zero.spec = replace(zero.spec, normalization=replace(whitened.spec.normalization, whitening=None))
    keys = [
        key(),
        key(context_of(other)),
        key(context_of(normal)),
        key(context_of(larger)),
        key(context_of(white)),
        key(context_of(zero)),
        key(context_of(portion(3, [12, 12, 11]))),
        key(context_of(dtype=torch.float32)),
        key(context_of(execution=Execution(precision="bfloat16"))),
        key(context_of(execution=Execution(compile=True))),
        key(context_of(execution=Execution(microbatch=8))),
        key(network="convnet1:width=5"),
        key(training=replace(TRAINING, lr=0.03)),
        key(training=replace(TRAINING, augmentation=IDCAugment())),
        key(epochs=3),
        key(seed=1),
    ]
    monkeypatch.setattr(pretraining, "_VERSION", 0)
    keys.append(key())
    assert len(set(keys)) == len(keys)
    monkeypatch.undo()
    # Nothing else: neither the images per class, nor the run's own seed, nor how classes are matched.
    assert key() == key(context_of(ipc=9, seed=3, execution=Execution(blocks="vmap"))) == keys[0]
    source = replace(portion().spec.normalization, source="published")
    named = portion()
    named.spec = replace(named.spec, name="another name", normalization=source)
    assert key(context_of(named)) == keys[0]


def test_runs_of_several_seeds_share_networks_with_a_seed(context_of: Callable[..., Context], tmp_path: Path) -> None:
    said: list[str] = []
    first, second = (context_of(seed=seed, cache=tmp_path, say=said.append) for seed in (0, 1))
    shared = [networks(context, 1, seed=7)[0] for context in (first, second)]
    assert same(*shared) and len(trained(said)) == 1
    own = [networks(context, 1)[0] for context in (first, second)]
    assert not same(*own) and len(trained(said)) == 3
    assert same(networks(context_of(seed=7), 1)[0], shared[0])


def test_life_is_shown_in_every_epoch(context_of: Callable[..., Context], monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(pretraining, "SILENCE", 0.0)
    networks(context_of(say=said.append), 1, epochs=2)
    title = "training network 1 of 1 on real images"
    assert said == [title, f"{title}: 1 of 2 epochs", f"{title}: 2 of 2 epochs"]


class Elsewhere(Executor):
    """Sends function and task through pickle, as another process gets them."""

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        return iter([pickle.loads(pickle.dumps(function))(pickle.loads(pickle.dumps(task))) for task in tasks])


def test_tasks_can_be_sent_to_another_process(context_of: Callable[..., Context], tmp_path: Path) -> None:
    said: list[str] = []
    sent = networks(context_of(executor=Elsewhere(), cache=tmp_path, say=lambda message: said.append(message)), 2)
    assert said == []
    assert all(map(same, sent, networks(context_of(), 2)))
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


def test_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path))
    assert cache_folder(True) == tmp_path / "networks"
    assert cache_folder(False) is None
    assert cache_folder(Path("~/x")) == Path.home() / "x"


def test_a_schedule_changes_the_step_size_of_an_epoch(context_of: Callable[..., Context], tmp_path: Path) -> None:
    context, schedule = context_of(cache=tmp_path), Schedule(kind="cosine", warmup=1, warmup_factor=0.1)
    module = context.network(NETWORK)._make().double()
    module.load_state_dict(context.network(NETWORK).initial(context.streams("pretrained network", 0)))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    streams = Streams(context.streams("pretraining", 0).seed)
    for epoch in range(4):
        optimizer.param_groups[0]["lr"] = 0.02 * schedule.factor(epoch, 4)
        for rows in streams("epoch", epoch).permutation(36).split(16):
            optimizer.zero_grad()
            logits = module(context.spec.normalization.apply(context.data.images(rows)))
            F.cross_entropy(logits, context.data.labels[rows]).backward()
            optimizer.step()
    for _ in range(2):  # trained, then from the cache
        (found,) = pretrained(context, NETWORK, TRAINING, 4, 1, schedule=schedule)
        for name, tensor in module.state_dict().items():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-12, msg=name)
    keys = [
        cache_key(context, NETWORK, TRAINING, 4, 0),
        cache_key(context, NETWORK, TRAINING, 4, 0, schedule),
        cache_key(context, NETWORK, TRAINING, 4, 0, replace(schedule, warmup=2)),
        cache_key(context, NETWORK, TRAINING, 4, 0, replace(schedule, kind="constant")),
    ]
    assert len(set(keys)) == 4


def test_an_augmentation_learns_of_the_data(context_of: Callable[..., Context]) -> None:
    context = context_of()
    bound = CropFlip(padding=1).bound(context.spec)
    one, other = (replace(TRAINING, augmentation=augmentation) for augmentation in (CropFlip(padding=1), bound))
    assert same(*(next(pretrained(context, NETWORK, training, 1, 1)) for training in (one, other)))
    assert cache_key(context, NETWORK, one, 1, 0) == cache_key(context, NETWORK, other, 1, 0)


class _Cut(Exception):
    pass


def cut_at(words: str, said: list[str]) -> Callable[[str], None]:
    def say(message: str) -> None:
        said.append(message)
        if message.endswith(words):
            raise _Cut

    return say


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("network", [NETWORK, "convnet1:width=4,norm=batch"])
def test_a_long_training_goes_on_in_the_same_bits(
    context_of: Callable[..., Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, optimizer: Any
) -> None:
    training, schedule = replace(TRAINING, optimizer=optimizer, cutmix=0.5), Schedule(kind="cosine")

    def train(**changes: Any) -> Weights:
        context = context_of(dtype=torch.float32, **changes)
        return next(pretrained(context, network, training, 5, 1, schedule=schedule))

    whole, said = train(), []
    monkeypatch.setattr(pretraining, "SILENCE", 0.0)
    monkeypatch.setattr(halfway, "KEEPING", 0.0)
    for epoch in (2, 4):  # stopped twice
        with pytest.raises(_Cut):
            train(cache=tmp_path, say=cut_at(f": {epoch} of 5 epochs", said))
        assert [path.name for path in tmp_path.glob("*/*")] == ["0000.unfinished"]
    assert same(train(cache=tmp_path, say=said.append), whole)
    title = "training network 1 of 1 on real images"
    assert [line for line in said if "epochs" not in line] == [
        title,
        f"{title}, from epoch 1 of 5 on",
        f"{title}, from epoch 3 of 5 on",
    ]
    assert [path.name for path in tmp_path.glob("*/*")] == ["0000.safetensors"]


@pytest.mark.parametrize("damage", ["empty", "cut", "number", "other"])
def test_a_damaged_half_is_trained_again(
    context_of: Callable[..., Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    whole, said = networks(context_of(), 1, epochs=4)[0], []
    monkeypatch.setattr(pretraining, "SILENCE", 0.0)
    monkeypatch.setattr(halfway, "KEEPING", 0.0)
    with pytest.raises(_Cut):
        networks(context_of(cache=tmp_path, say=cut_at(": 3 of 4 epochs", said)), 1, epochs=4)
    (path,) = tmp_path.glob("*/*")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1  # one bit of one number
    path.write_bytes({"empty": b"", "cut": bytes(content[:-9]), "number": bytes(content), "other": b"{}"}[damage])
    again: list[str] = []
    assert same(networks(context_of(cache=tmp_path, say=again.append), 1, epochs=4)[0], whole)
    assert again[0] == "training network 1 of 1 on real images"


def test_a_short_training_keeps_nothing_on_its_way(
    context_of: Callable[..., Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraining, "SILENCE", 0.0)
    with pytest.raises(_Cut):
        networks(context_of(cache=tmp_path, say=cut_at(": 3 of 4 epochs", [])), 1, epochs=4)
    assert not list(tmp_path.glob("*/*"))
