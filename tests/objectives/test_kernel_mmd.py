from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.engine.loop import Loop
from limbeck.methods.m3d import m3d
from limbeck.objectives.kernel_mmd import KernelMMD
from limbeck.objectives.mean_embedding import MeanEmbedding
from limbeck.objectives.siamese import Pair
from limbeck.ops.kernels import Kernel, mmd

ContextOf = Callable[..., Context]
NETWORK = "convnet2:width=4"


def case(context: Context) -> tuple[View, Pair]:
    network = context.network(NETWORK)
    images = context.spec.normalization.apply(context.data.images(context.data.class_rows(0)))
    pair = Pair(0, images[:5], images[5:9], torch.zeros(4, dtype=torch.int64))
    return View(network, network.initial(context.streams("network"))), pair


@pytest.mark.parametrize("kernel", get_args(Kernel))
def test_it_is_the_discrepancy_of_the_embeddings(context_of: ContextOf, kernel: Any) -> None:
    view, pair = case(context_of())
    module = view.network._make().double()
    module.load_state_dict(view.weights)
    leaf = pair.synthetic.clone().requires_grad_()
    value = mmd(module(leaf, "embedding"), module(pair.real, "embedding").detach(), kernel)
    losses, (pull,) = KernelMMD(kernel=kernel).pulls(view, [pair])
    torch.testing.assert_close(losses[0], value.detach(), rtol=1e-11, atol=1e-14)
    torch.testing.assert_close(pull, torch.autograd.grad(value, leaf)[0], rtol=1e-9, atol=1e-14)


def test_a_linear_kernel_is_dm(context_of: ContextOf) -> None:
    view, pair = case(context_of())
    found, expected = (one.pulls(view, [pair]) for one in (KernelMMD(kernel="linear"), MeanEmbedding()))
    torch.testing.assert_close(found[0], expected[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(found[1][0], expected[1][0], rtol=1e-12, atol=1e-15)


def test_the_same_images_are_no_distance_away(context_of: ContextOf) -> None:
    view, pair = case(context_of())
    same = Pair(0, pair.real, pair.real.flip(0), torch.zeros(5, dtype=torch.int64))
    losses, (pull,) = KernelMMD().pulls(view, [same])
    assert float(losses[0]) == pytest.approx(0, abs=1e-12)
    assert float(pull.abs().max()) < 1e-10


def test_what_a_run_follows_goes_down(context_of: ContextOf) -> None:
    """One network for the whole run, and whole classes."""
    recipe = m3d("digits").with_(
        augmentation=None,
        pool__network=NETWORK,
        pool__every=20,
        sampler__batch_size=12,
        curriculum__iterations=20,
        optimizer__lr=0.5,
    )
    loop, every = Loop(recipe, context_of()), []
    state = loop.start()
    while state.ordinal < loop.length():
        state, losses = loop.step(state)
        every.append(float(losses.sum()))
    assert every[-1] < 0.7 * every[0]
