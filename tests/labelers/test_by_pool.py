from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.errors import InputError, RunError
from limbeck.core.streams import Streams
from limbeck.data import Data
from limbeck.engine.distill import distill, make_context
from limbeck.engine.settings import Settings
from limbeck.engine.snapshots import read_snapshots
from limbeck.formats.native import load
from limbeck.labelers.by_pool import ByPool
from limbeck.labelers.hard import Hard
from limbeck.methods.dsdm import dsdm
from limbeck.methods.random import random
from limbeck.pools.pretrained import Pretrained
from limbeck.training.settings import Training
from tests.engine.tiny import NETWORK, tiny_idc

QUIET = Settings(device="cpu", progress="quiet")
POOL = Pretrained(network=NETWORK, training=Training(lr=0.05), epochs=1, count=3)


@pytest.mark.parametrize("batch", [4, 256])
@pytest.mark.parametrize("network", ["convnet1:width=4", "convnet1:width=4,norm=batch"])
def test_labels_are_the_mean_of_what_networks_say(context_of: Callable[..., Context], network: str, batch: int) -> None:
    context = context_of()
    built, images = context.network(network), Streams(1)("images").normal(10, *context.spec.shape)
    views = [View(built, built.initial(Streams(seed)("network")), train=True) for seed in range(3)]
    labels = ByPool(batch=batch).soft(iter(views), images)
    assert labels is not None and labels.dtype == torch.float32 and labels.shape == (10, 3)
    expected = []
    for view in views:
        module = built._make().double().eval()
        module.load_state_dict(view.weights)
        with torch.no_grad():
            expected.append(F.softmax(module(images), dim=1))
    torch.testing.assert_close(labels.double(), torch.stack(expected).mean(0), rtol=0, atol=1e-7)
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(10))
    assert not labels.requires_grad


def test_targets_are_those_of_hard_labels() -> None:
    assert ByPool().targets(3, 4).tolist() == Hard().targets(3, 4).tolist() == [3, 3, 3, 3]


def test_it_needs_networks_that_label(context_of: Callable[..., Context]) -> None:
    recipe = tiny_idc().with_(labeler=ByPool())
    with pytest.raises(InputError, match=r"labeler 'by_pool' of recipe 'idc' needs labelling networks.*slot 'pool'"):
        recipe.check()
    recipe.with_(pool=POOL).check()
    with pytest.raises(InputError, match="needs a batch of at least 1, not 0"):
        ByPool(batch=0).check(context_of())
    with pytest.raises(RunError, match="was given no network"):
        ByPool().soft([], torch.zeros(1, 1, 8, 8))


def test_a_run_labels_its_result_and_its_snapshots(digits: Data, tmp_path: Path) -> None:
    recipe = dsdm("digits").with_(labeler=ByPool(), pool=POOL, curriculum__iterations=4)
    settings = Settings(device="cpu", progress="quiet", snapshots=2)
    made = distill(recipe, digits, ipc=1, out=tmp_path / "run", settings=settings)
    read, again = load(tmp_path / "run"), distill(recipe, digits, ipc=1, out=tmp_path / "run", settings=settings)
    context = make_context(recipe, digits, 1, 0, settings)
    judges = list(POOL.judges(POOL.init(context), context))
    assert len(judges) == 3
    folders = [snapshot.folder for snapshot in read_snapshots(tmp_path / "run")]
    assert len(folders) == 2
    for one in (made, read, again, *map(load, folders)):
        images, _ = one.decoded()
        expected = ByPool().soft(judges, digits.spec.normalization.apply(images))
        assert one.soft_labels is not None and expected is not None
        torch.testing.assert_close(one.soft_labels, expected, rtol=0, atol=1e-6)
        assert one.label_bytes == images.shape[0] * 10 * 4
    assert torch.equal(read.learnt["labels"], made.learnt["labels"])
    first = load(folders[0]).soft_labels
    assert first is not None and not torch.equal(first, made.soft_labels)


def test_a_coreset_can_be_labelled(digits: Data) -> None:
    made = distill(random().with_(labeler=ByPool(), pool=POOL), digits, ipc=2, settings=QUIET)
    assert made.soft_labels is not None and made.soft_labels.shape == (20, 10)
