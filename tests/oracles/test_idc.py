"""The composed engine against the naive single file: same pixels, same losses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from limbeck.core.context import Context
from limbeck.engine.loop import Loop
from limbeck.methods.idc import idc
from tests.oracles.naive_idc import NaiveIDC

ITERATIONS, STEPS, SAMPLES = 2, 2, 24
LR = 0.3
"""Large, so that a wrong step shows."""


def naive(context: Context, factor: int, augment: bool, cutmix: float) -> NaiveIDC:
    return NaiveIDC(
        images=context.data.images(torch.arange(len(context.data))),
        labels=context.data.labels,
        classes=context.spec.classes,
        mean=context.spec.normalization.mean[0],
        std=context.spec.normalization.std[0],
        streams=context.streams,
        ipc=context.ipc,
        factor=factor,
        niter=ITERATIONS,
        inner_loop=STEPS,
        batch_real=5,
        batch_net=7,
        n_data=SAMPLES,
        lr_img=LR * context.ipc / 10,
        augment=augment,
        mixup_net=cutmix,
    )


def loop_of(context: Context, factor: int, augment: bool, cutmix: float, class_block: int) -> Loop:
    recipe = idc("digits", factor=factor).with_(
        sampler__batch_size=5,
        curriculum__iterations=ITERATIONS,
        curriculum__steps=STEPS,
        pool__network="convnet2:width=4",
        pool__samples=SAMPLES,
        pool__training__batch_size=7,
        pool__training__cutmix=cutmix,
        optimizer__lr=LR,
        objective__metric="mse",
        objective__bias=False,
        objective__classifier=False,
    )
    if not augment:
        recipe = recipe.with_(augmentation=None, pool__training__augmentation=None)
    recipe.check(context)
    return Loop(recipe, context, class_block)


@pytest.mark.parametrize("class_block", [2, 10])
@pytest.mark.parametrize(("augment", "cutmix"), [(False, 0.0), (True, 0.0), (True, 0.5)])
@pytest.mark.parametrize("factor", [1, 2])
def test_pixels_and_losses_are_those_of_the_naive_loop(
    context_of: Callable[..., Context], factor: int, augment: bool, cutmix: float, class_block: int
) -> None:
    context = context_of(ipc=2)
    pixels, expected = naive(context, factor, augment, cutmix).run()
    loop = loop_of(context, factor, augment, cutmix, class_block)
    state, losses = loop.start(), []
    begin = state.stored.clone()
    for _ in range(loop.length()):
        state, loss = loop.step(state)
        losses.append(loss)
    torch.testing.assert_close(torch.stack(losses), expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(state.stored, pixels, rtol=0, atol=1e-10)
    # The comparison means something: pixels have moved far.
    assert (state.stored - begin).abs().max() > 1e-3


def test_network_training_is_part_of_the_comparison(context_of: Callable[..., Context]) -> None:
    context = context_of(ipc=2)
    with_mix, without = (naive(context, 2, True, cutmix).run()[0] for cutmix in (0.5, 0.0))
    assert (with_mix - without).abs().max() > 1e-6
