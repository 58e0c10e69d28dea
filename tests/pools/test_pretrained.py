from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.core.batch import Moment
from limbeck.core.context import Context
from limbeck.core.errors import InputError, RunError
from limbeck.core.executor import Executor
from limbeck.data import Data
from limbeck.data.images import ImageSet
from limbeck.engine.distill import distill, make_context
from limbeck.engine.loop import Loop
from limbeck.engine.settings import Settings
from limbeck.pools.pretrained import Pretrained, pretrain
from limbeck.storage.weights import digest, read_weights, weight_files
from limbeck.training.supervised import Training
from tests.engine.tiny import tiny_idc
from tests.pools.stopped import check_stopped_in_training

NETWORK = "convnet1:width=4"
POOL = Pretrained(network=NETWORK, training=Training(lr=0.02, batch_size=16), epochs=2, count=3)


class Counting(Executor):
    """Remembers its tasks, and does the last one first."""

    def __init__(self) -> None:
        self.tasks: list[Any] = []

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        self.tasks += tasks
        results = [function(task) for task in reversed(tasks)]
        return iter(reversed(results))


def test_every_network_is_a_task_of_its_own(context_of: Callable[..., Context]) -> None:
    executor = Counting()
    said: list[str] = []
    assert POOL.kept(context_of()) == 0.0
    parallel = POOL.init(context_of(executor=executor, say=said.append))
    assert executor.tasks == [0, 1, 2]
    assert said == [f"training network {number} of 3 on real images" for number in (3, 2, 1)]
    sequential = POOL.init(context_of())
    for one, other in zip(parallel["networks"], sequential["networks"], strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert not any(tensor.requires_grad for tensor in one.values())
    first, second = (parallel["networks"][number]["classifier.weight"] for number in (0, 1))
    assert not torch.equal(first, second)


def test_outer_iterations_draw_one_of_them(context_of: Callable[..., Context]) -> None:
    context = context_of()
    pool = Pretrained(network=NETWORK, epochs=0, count=3)
    state = pool.init(context)
    drawn = []
    for iteration in range(30):
        state = pool.draw(state, context, iteration)
        view = pool.view(state, context)
        drawn.append(next(k for k in range(3) if view.weights is state["networks"][k]))
        assert pool.advance(state, context, Moment(iteration, 0, 1), lambda: pytest.fail("not needed")) is state
    assert set(drawn) == {0, 1, 2}
    assert drawn == [pool.draw(state, context, iteration)["current"] for iteration in range(30)]


def test_without_epochs_networks_are_fresh(context_of: Callable[..., Context]) -> None:
    context = context_of()
    pool = Pretrained(network=NETWORK, epochs=0)
    fresh = context.network(NETWORK).initial(context.streams("pretrained network", 0))
    (weights,) = pool.init(context)["networks"]
    assert all(torch.equal(weights[name], fresh[name]) for name in fresh)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"count": 0}, "pool 'pretrained' needs count >= 1"),
        ({"epochs": -1}, "pool 'pretrained' needs count >= 1"),
        ({"training": Training(batch_size=0)}, "training of pool 'pretrained' needs lr > 0"),
        ({"network": "convnett1"}, "unknown network 'convnett1'; did you mean"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    context_of: Callable[..., Context], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Pretrained(**{"network": NETWORK, **fields}).check(context_of())


def test_a_resumed_run_needs_no_cache(portion: Callable[..., ImageSet], tmp_path: Path) -> None:
    train = portion()
    data = Data(train=train, validation=None, test=None, spec=train.spec)
    recipe = tiny_idc(iterations=4, steps=1).with_(pool=replace(POOL, network="convnet2:width=4"))
    kept = tmp_path / "kept"
    settings = Settings(progress="quiet", device="cpu", checkpoint_minutes=0, network_cache=kept)
    whole = distill(recipe, data, ipc=1, settings=replace(settings, network_cache=False))
    assert not kept.exists()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        step = Loop.step
        patch.setattr(Loop, "step", lambda self, state: step(self, state) if state.ordinal < 2 else cut())
        distill(recipe, data, ipc=1, out=tmp_path / "run", settings=settings)
    files = list(kept.rglob("*.safetensors"))
    assert len(files) == 3
    shutil.rmtree(kept)
    assert torch.equal(distill(recipe, data, ipc=1, out=tmp_path / "run", settings=settings).stored, whole.stored)
    # A run of another seed, or of another method, finds them; with its own seed only the networks of that.
    for seed, count in ((0, 3), (1, 3), (2, 6)):
        pool = replace(recipe.pool, seed=0 if seed < 2 else None)
        said: list[str] = []
        context = make_context(recipe.with_(pool=pool), data, 1, seed, settings, say=said.append)
        pool.init(context)
        assert len(list(kept.rglob("*.safetensors"))) == count
        assert all(message.startswith("training") == (seed != 1) for message in said) and len(said) == 3


def test_a_run_that_is_asked_to_stop_while_networks_are_trained_goes_on_from_their_last_epoch(
    portion: Callable[..., ImageSet], tmp_path: Path
) -> None:
    check_stopped_in_training(
        tiny_idc(iterations=2, steps=1).with_(pool=replace(POOL, network="convnet2:width=4")), portion(), tmp_path
    )


def cut() -> Any:
    raise RuntimeError("power cut")


def test_memory_and_disk_count_every_network() -> None:
    assert POOL.copies() == 3


def test_saved_networks_are_those_of_the_pool(
    context_of: Callable[..., Context], portion: Callable[..., ImageSet], tmp_path: Path
) -> None:
    train = portion()
    data, context = Data(train=train, validation=None, test=None, spec=train.spec), context_of(dtype=torch.float32)
    files = pretrain(POOL, data, tmp_path / "saved")
    assert [path.name for path in files] == [f"seed0-epochs2-000{number}.safetensors" for number in range(3)]
    assert weight_files(tmp_path / "saved") == files
    for path, weights in zip(files, POOL.init(context)["networks"], strict=True):
        back = read_weights(path, context.network(NETWORK), digest(path))
        assert all(torch.equal(back[name], tensor) for name, tensor in weights.items())
    # Longer training of the same seed and another seed are added to the folder; nothing is overwritten.
    more = pretrain(replace(POOL, epochs=3, count=1), data, tmp_path / "saved")
    other = pretrain(replace(POOL, count=1), data, tmp_path / "saved", seed=1)
    assert len(weight_files(tmp_path / "saved")) == 5
    assert len({digest(path) for path in (*files, *more, *other)}) == 5
    shared = pretrain(replace(POOL, seed=0), data, tmp_path / "shared", seed=5, cache=tmp_path / "kept")
    assert [path.name for path in shared] == [path.name for path in files]
    assert [digest(path) for path in shared] == [digest(path) for path in files]
    assert len(list((tmp_path / "kept").rglob("*.safetensors"))) == 3
    before = digest(files[0])
    with pytest.raises(InputError, match="is there already; remove it"):
        pretrain(replace(POOL, count=4), data, tmp_path / "saved")
    assert digest(files[0]) == before and len(weight_files(tmp_path / "saved")) == 5
    with pytest.raises(InputError, match="unknown network"):
        pretrain(replace(POOL, network="convnett1"), data, tmp_path / "other")


def test_idc_starts_from_saved_networks_and_resumes_only_with_them(
    portion: Callable[..., ImageSet], tmp_path: Path
) -> None:
    train = portion()
    data = Data(train=train, validation=None, test=None, spec=train.spec)
    pool = Pretrained(network="convnet2:width=4", epochs=1, count=2)
    files = pretrain(pool, data, tmp_path / "saved")
    recipe = tiny_idc(iterations=3, steps=2).with_(pool__start=str(tmp_path / "saved"))
    settings = Settings(progress="quiet", device="cpu", checkpoint_minutes=0)
    whole = distill(recipe, data, ipc=1, settings=settings)
    assert not torch.equal(whole.stored, distill(recipe.with_(pool__start=""), data, ipc=1, settings=settings).stored)

    def stopped(out: Path) -> None:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
            step = Loop.step
            patch.setattr(Loop, "step", lambda self, state: step(self, state) if state.ordinal < 3 else cut())
            distill(recipe, data, ipc=1, out=out, settings=settings)

    stopped(tmp_path / "a")
    assert torch.equal(distill(recipe, data, ipc=1, out=tmp_path / "a", settings=settings).stored, whole.stored)
    stopped(tmp_path / "b")
    for path in files:
        path.unlink()
    pretrain(pool, data, tmp_path / "saved", seed=1)
    for path, other in zip(files, weight_files(tmp_path / "saved"), strict=True):
        other.rename(path)
    with pytest.raises(RunError, match="its digest differs"):
        distill(recipe, data, ipc=1, out=tmp_path / "b", settings=settings)
