"""Operations of a run by hand count."""

from __future__ import annotations

from limbeck.data.splits import Data
from limbeck.engine.distill import make_context
from limbeck.engine.settings import Settings
from limbeck.engine.workload import flops, workload
from limbeck.methods.idc import idc
from limbeck.networks import build
from tests.engine.tiny import tiny_dream, tiny_idc

QUIET = Settings(device="cpu", progress="quiet")


def test_operations_of_a_network_by_hand(digits: Data) -> None:
    """Two per product and sum: 3 x 3 convolution with padding 3 on one channel, then a linear layer."""
    network = build("convnet1:width=4", digits.spec)
    rows = digits.spec.height + 4
    assert network.flops(digits.spec.shape) == 2 * 9 * 4 * rows**2 + 2 * 4 * (rows // 2) ** 2 * 10


def test_operations_of_a_run_by_hand(digits: Data) -> None:
    recipe = idc("digits").with_(
        curriculum__iterations=3, curriculum__steps=4, pool__samples=100, sampler__batch_size=20
    )
    context = make_context(recipe, digits, 2, 0, QUIET)
    load = workload(recipe, context)
    assert (load.iterations, load.steps, load.real, load.decoded) == (3, 4, 20, 2)
    matching = 10 * 12 * (3 * 20 + 7 * 2)
    training = 3 * 3 * 3 * 100
    forward = context.network(recipe.pool.network).flops(digits.spec.shape)
    assert flops(recipe, context) == (matching + training) * forward


def test_dream_adds_its_clusterings(digits: Data) -> None:
    base, improved = tiny_idc(), tiny_dream()
    counts = sum(digits.train.class_counts())
    load = workload(improved, make_context(improved, digits, 1, 0, QUIET))
    context = make_context(improved, digits, 1, 0, QUIET)
    clusterings = load.iterations * -(-load.steps // improved.sampler.interval)
    assert improved.sampler.passes(context, load) == clusterings * counts
    assert improved.initializer.passes(context, load) == counts
    assert base.sampler.passes(context, load) == 0
