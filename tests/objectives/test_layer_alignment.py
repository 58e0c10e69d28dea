from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.augmentations.dsa_augment import DSAAugment
from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.contracts import Workload
from limbeck.core.errors import InputError
from limbeck.core.execution import Execution, can_compile
from limbeck.engine.loop import Loop
from limbeck.methods.cafe import cafe
from limbeck.objectives.layer_alignment import LayerAlignment
from limbeck.objectives.siamese import Pair

ContextOf = Callable[..., Context]
NETWORK = "convnet3:width=4,norm=layer"
COUNTS = (7, 5, 6)

needs_compiler = pytest.mark.skipif(not can_compile(torch.device("cpu")), reason="there is no C++ compiler")


@pytest.fixture
def _forget_programs() -> Iterator[None]:
    yield
    torch.compiler.reset()


def sides(context: Context) -> list[Pair]:
    pairs = []
    for label, count in enumerate(COUNTS):
        images = context.spec.normalization.apply(context.data.images(context.data.class_rows(label)))
        pairs.append(Pair(label, images[:count], images[-3:], torch.full((3,), label)))
    return pairs


def view_in(context: Context, network: str = NETWORK, train: bool = True) -> View:
    architecture = context.network(network)
    return View(architecture, architecture.initial(context.streams("network")), train=train)


def tapped(module: nn.Module, images: Tensor) -> list[Tensor]:
    """Maps after each activation, the last map after pooling, and the embedding, through hooks."""
    seen: list[Tensor] = []
    layers = [block.activation for block in module.blocks] + [module.blocks[-1].pool]  # type: ignore[union-attr]
    hooks = [layer.register_forward_hook(lambda layer, given, found: seen.append(found)) for layer in layers]
    embedding = module(images, "embedding")
    for hook in hooks:
        hook.remove()
    return [*seen, embedding]


def plainly(view: View, pairs: list[Pair], objective: LayerAlignment) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of each class and gradients of their sum: the whole formula at once, by autograd."""
    module = view.network._make().double()
    module.load_state_dict(view.weights)
    leaves = [pair.synthetic.clone().requires_grad_() for pair in pairs]
    real = [[layer.detach() for layer in tapped(module, pair.real)] for pair in pairs]
    synthetic = [tapped(module, leaf) for leaf in leaves]
    centres = torch.stack([layers[-1].mean(dim=0) for layers in synthetic])
    depth, losses, told = len(module.blocks), [], []
    weights = [objective.early if index < objective.early_layers else objective.late for index in range(depth + 1)]
    for position, (one, other) in enumerate(zip(real, synthetic, strict=True)):
        apart = torch.zeros((), dtype=torch.float64)
        for weight, a, b in zip([*weights, 1.0], one, other, strict=True):
            apart = apart + weight * (a.mean(dim=0) - b.mean(dim=0)).square().sum()
        logits, own = one[-1] @ centres.T, torch.full((len(one[-1]),), position)
        told.append(objective.discrimination * F.cross_entropy(logits, own, reduction="sum"))
        losses.append(apart + told[-1])
    gradients = torch.autograd.grad(torch.stack(losses).sum(), leaves)
    return torch.stack(losses).detach(), torch.cat(gradients), torch.stack(told).detach()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"discrimination": 0.3},
        {"early": 0.7, "early_layers": 1, "late": 0.4, "discrimination": 0.0},
        {"early": 0.0, "late": 0.0, "discrimination": 0.5},
    ],
)
@pytest.mark.parametrize("network", [NETWORK, "convnet2:width=3"])
def test_two_phases_equal_the_whole_formula(context_of: ContextOf, fields: dict[str, Any], network: str) -> None:
    context, objective = context_of(), LayerAlignment(**fields)
    view, pairs = view_in(context, network), sides(context)
    losses, pulls = objective.pulls(view, pairs)
    expected, gradient, told = plainly(view, pairs, objective)
    torch.testing.assert_close(losses, expected, rtol=1e-11, atol=0)
    torch.testing.assert_close(torch.cat(pulls), gradient, rtol=1e-9, atol=1e-13)
    assert bool(told.any()) == bool(objective.discrimination)


def test_the_discrimination_pulls_the_images_of_other_classes(context_of: ContextOf) -> None:
    """Real images of a class push the centres of the others away, so that no class stands alone."""
    context, objective = context_of(), LayerAlignment(early=0, late=0, discrimination=1.0)
    view, pairs = view_in(context), sides(context)
    assert objective.joins_classes(view.network)
    together = objective.pulls(view, pairs)[1]
    alone = objective.pulls(view, pairs[:1])[1]
    assert not torch.allclose(together[0], alone[0])


def test_a_class_alone_has_nothing_to_tell_apart(context_of: ContextOf) -> None:
    context = context_of()
    view, (pair, *_) = view_in(context), sides(context)
    found = LayerAlignment().compare(view, pair)
    expected, _, _ = plainly(view, [pair], LayerAlignment(discrimination=0))
    torch.testing.assert_close(found[None], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("size", [1, 2])
def test_all_classes_stand_in_one_block(context_of: ContextOf, size: int) -> None:
    recipe = cafe("digits").with_(
        augmentation=DSAAugment(tokens=("color", "crop")),
        pool__network=NETWORK,
        sampler__batch_size=5,
        curriculum__iterations=2,
        curriculum__steps=1,
    )
    ends = []
    for block in (10, size):
        loop = Loop(recipe, context_of(), class_block=block)
        state = loop.start()
        for _ in range(2):
            state, _ = loop.step(state)
        ends.append(state.stored)
    assert torch.equal(*ends)


def test_batch_norm_in_training_is_refused(context_of: ContextOf) -> None:
    context = context_of()
    batch = "convnet2:norm=batch,width=4"
    with pytest.raises(InputError, match=r"batch norm of convnet2.* choose a network with another norm"):
        LayerAlignment().pulls(view_in(context, batch), sides(context))
    losses, _ = LayerAlignment().pulls(view_in(context, batch, train=False), sides(context))
    assert torch.isfinite(losses).all()


def test_microbatches_change_nothing(context_of: ContextOf) -> None:
    expected, context = LayerAlignment().pulls(view_in(context_of()), sides(context_of())), context_of()
    context = context_of(execution=Execution(microbatch=2))
    found = LayerAlignment().pulls(view_in(context), sides(context))
    torch.testing.assert_close(found[0], expected[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(torch.cat(found[1]), torch.cat(expected[1]), rtol=1e-10, atol=1e-14)


@needs_compiler
@pytest.mark.usefixtures("_forget_programs")
def test_compiled_steps_give_the_same(context_of: ContextOf) -> None:
    expected = LayerAlignment().pulls(view_in(context_of(), "convnet1:width=3"), sides(context_of()))
    context = context_of(execution=Execution(compile=True, microbatch=3))
    found = LayerAlignment().pulls(view_in(context, "convnet1:width=3"), sides(context))
    torch.testing.assert_close(found[0], expected[0], rtol=1e-10, atol=0)
    largest = float(torch.cat(expected[1]).abs().max())
    torch.testing.assert_close(torch.cat(found[1]), torch.cat(expected[1]), rtol=0, atol=1e-10 * largest)


def test_what_it_costs(context_of: ContextOf) -> None:
    load = Workload(iterations=5, steps=2, real=7, decoded=12)
    assert LayerAlignment(synthetic_batch=4).passes(context_of(), load) == 3 * 10 * (7 + 4 * 4)


@pytest.mark.parametrize("fields", [{"early": -1.0}, {"late": -1.0}, {"discrimination": -1.0}, {"early_layers": -1}])
def test_weights_that_make_no_sense_are_refused(context_of: ContextOf, fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="objective 'layer_alignment' needs early, late"):
        LayerAlignment(**fields).check(context_of())
