"""Every execution setting gives the losses and image gradients of the plain one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from limbeck.augmentations.idc_augment import IDCAugment
from limbeck.core.batch import Block, Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Peers
from limbeck.core.errors import InputError
from limbeck.core.execution import Execution, can_compile
from limbeck.objectives.feature_means import FeatureMeans
from limbeck.objectives.gradient import GradientMatching
from limbeck.objectives.siamese import Pair, Siamese
from limbeck.parametrizations.partition import Partition

ContextOf = Callable[..., Context]

needs_compiler = pytest.mark.skipif(not can_compile(torch.device("cpu")), reason="there is no C++ compiler")

PLAIN = Execution()
SETTINGS = {
    "microbatch": Execution(microbatch=3),
    "vmap": Execution(blocks="vmap"),
    "vmap-microbatch": Execution(blocks="vmap", microbatch=2),
    "concat": Execution(blocks="concat"),
    "concat-microbatch": Execution(blocks="concat", microbatch=4),
}
COMPILED = {
    "compiled": Execution(compile=True, microbatch=3),
    "compiled-vmap": Execution(compile=True, blocks="vmap"),
}
METRICS = ("mse", "l1", "l1_mean", "cosine", "full_cosine")


@pytest.fixture(autouse=True)
def _forget_programs() -> Iterator[None]:
    yield
    torch.compiler.reset()


def gradients(
    context: Context, execution: Execution, objective: GradientMatching, network: str, train: bool = True
) -> tuple[Tensor, Tensor]:
    """Losses and image gradients of one step over ragged classes, all randomness fixed."""
    context = replace(context, execution=execution)
    architecture = context.network(network)
    view = View(architecture, architecture.initial(context.streams("network")), train=train)
    peers = Peers(Partition(factor=2), IDCAugment(), context.spec)
    classes, counts = context.spec.classes, (7, 5, 6)
    real = torch.stack([context.data.images(context.data.class_rows(label)[:7]) for label in range(classes)])
    stored = torch.stack([context.data.images(context.data.class_rows(label)[7:9]) for label in range(classes)])
    draws = tuple(objective.draw(context, Moment(0, 0, 1), label, peers)[0] for label in range(classes))
    targets = torch.arange(classes, device=context.device).unsqueeze(1).expand(-1, 8)
    block = Block(tuple(range(classes)), stored, targets, real, counts, draws)
    return objective.gradients(view, block, peers)


def sides(context: Context) -> list[Pair]:
    """Real and synthetic images of two classes."""
    pairs = []
    for label in range(2):
        rows = context.data.class_rows(label)
        images = context.data.images(rows[:6]), context.data.images(rows[6:9])
        pairs.append(Pair(label, *images, torch.full((3,), label)))
    return pairs


def same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor], tolerance: float) -> None:
    """Equal relative to the largest value."""
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).abs().max()) <= tolerance * float(other.abs().max())


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("network", ["convnet2:width=4", "convnet1:norm=layer,width=4", "mlp:width=8"])
def test_float64(context_of: ContextOf, setting: str, metric: Any, network: str) -> None:
    context = context_of()
    objective = GradientMatching(metric=metric, bias=True, classifier=True)
    expected = gradients(context, PLAIN, objective, network)
    assert float(expected[1].abs().max()) > 0
    same(gradients(context, SETTINGS[setting], objective, network), expected, 1e-10)


@needs_compiler
@pytest.mark.parametrize("setting", COMPILED)
def test_compiled_float64(context_of: ContextOf, setting: str) -> None:
    context, objective = context_of(), GradientMatching(metric="mse")
    expected = gradients(context, PLAIN, objective, "convnet2:width=4")
    same(gradients(context, COMPILED[setting], objective, "convnet2:width=4"), expected, 1e-10)


@needs_compiler
def test_compiled_float32_with_a_smooth_activation(context_of: ContextOf) -> None:
    context, objective = context_of(dtype=torch.float32), GradientMatching(metric="mse")
    network = "convnet2:activation=swish,width=4"
    expected = gradients(context, PLAIN, objective, network)
    same(gradients(context, COMPILED["compiled"], objective, network), expected, 1e-5)


@needs_compiler
@pytest.mark.parametrize("objective", [GradientMatching(), FeatureMeans()])
def test_compiled_steps_record_batch_statistics(context_of: ContextOf, objective: Siamese) -> None:
    context, network, reached = context_of(), "convnet1:norm=batch,width=4", []
    for execution in (PLAIN, COMPILED["compiled"]):
        architecture = replace(context, execution=execution).network(network)
        view = View(architecture, architecture.initial(context.streams("network")))
        found = objective.pulls(view, sides(context))
        reached.append((found[0], torch.stack(found[1]), view.weights["blocks.0.norm.running_var"]))
    for one, other in zip(*reached, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    assert float((reached[0][2] - 1).abs().max()) > 0.1, "nothing was recorded"


@needs_compiler
def test_compiled_feature_means(context_of: ContextOf) -> None:
    context, reached = context_of(), []
    for execution in (PLAIN, COMPILED["compiled"]):
        architecture = replace(context, execution=execution).network("convnet2:width=4")
        view = View(architecture, architecture.initial(context.streams("network")))
        losses, pulls = FeatureMeans(block=0).pulls(view, sides(context))
        reached.append((losses, torch.stack(pulls)))
    same(reached[1], reached[0], 1e-10)


@pytest.mark.gpu
@pytest.mark.parametrize("execution", [PLAIN, *SETTINGS.values(), *COMPILED.values()])
def test_a_gpu_gives_what_the_cpu_gives(context_of: ContextOf, execution: Execution) -> None:
    context, objective = context_of(), GradientMatching(bias=True, classifier=True)
    expected = gradients(context, PLAIN, objective, "convnet2:width=4")
    device = torch.device("cuda")
    there = replace(context, device=device, data=context.data.to(device, torch.float64))
    found = gradients(there, execution, objective, "convnet2:width=4")
    same((found[0].cpu(), found[1].cpu()), expected, 1e-10)


@needs_compiler
def test_bfloat16_points_the_same_way(context_of: ContextOf) -> None:
    context, objective = context_of(dtype=torch.float32), GradientMatching(metric="mse")
    low = Execution(compile=True, precision="bfloat16")
    (exact, pull), (rounded, other) = (
        gradients(context, execution, objective, "convnet2:width=8") for execution in (PLAIN, low)
    )
    torch.testing.assert_close(rounded, exact, rtol=5e-2, atol=0)
    assert not torch.equal(rounded, exact)
    assert float(torch.cosine_similarity(pull.flatten(), other.flatten(), dim=0)) > 0.98


@pytest.mark.parametrize("blocks", ["concat", "vmap"])
def test_classes_are_not_mixed_in_batch_norm(context_of: ContextOf, blocks: Any) -> None:
    context, objective, network = context_of(), GradientMatching(), "convnet1:norm=batch,width=4"
    with pytest.raises(InputError, match="--blocks loop"):
        gradients(context, Execution(blocks=blocks), objective, network)
    # In evaluation mode images do not see one another.
    expected = gradients(context, PLAIN, objective, network, train=False)
    same(gradients(context, Execution(blocks=blocks), objective, network, train=False), expected, 1e-10)


def test_batch_norm_sees_the_whole_batch(context_of: ContextOf) -> None:
    """A microbatch would have statistics of its own."""
    context, objective, network = context_of(), GradientMatching(), "convnet1:norm=batch,width=4"
    expected = gradients(context, PLAIN, objective, network)
    same(gradients(context, Execution(microbatch=2), objective, network), expected, 1e-12)


@needs_compiler
def test_relu_scatters_about_float64_no_more_than_eagerly(context_of: ContextOf) -> None:
    """A value near zero may fall on either side of it: gradients agree to 2e-3, and to three times the plain error."""
    objective, network = GradientMatching(metric="mse"), "convnet2:width=8"
    errors: dict[str, list[float]] = {"plain": [], "compiled": []}
    for seed in range(5):
        _, exact = gradients(context_of(seed=seed), PLAIN, objective, network)
        context = context_of(seed=seed, dtype=torch.float32)
        for name, execution in (("plain", PLAIN), ("compiled", COMPILED["compiled"])):
            _, found = gradients(context, execution, objective, network)
            errors[name].append(float((found.double() - exact).norm() / exact.norm()))
    assert max(errors["compiled"]) <= 2e-3
    assert max(errors["compiled"]) <= 3 * max(errors["plain"])
