"""What objectives of embeddings share: passes, batch norm, padding, and execution settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.contracts import State, Workload
from limbeck.core.errors import InputError
from limbeck.core.execution import Execution, can_compile
from limbeck.engine.loop import Loop
from limbeck.methods.dm import dm
from limbeck.objectives.class_aware_mean import ClassAwareMean
from limbeck.objectives.embedding import EmbeddingDistance
from limbeck.objectives.kernel_mmd import KernelMMD
from limbeck.objectives.mean_embedding import MeanEmbedding
from limbeck.objectives.semantic_distribution import SemanticDistribution
from limbeck.objectives.siamese import Pair

ContextOf = Callable[..., Context]

needs_compiler = pytest.mark.skipif(not can_compile(torch.device("cpu")), reason="there is no C++ compiler")

INSTANCE, BATCH = "convnet1:width=3", "convnet1:norm=batch,width=3"
COMPILED = Execution(compile=True, microbatch=3)
OBJECTIVES: dict[str, EmbeddingDistance] = {
    "mean": MeanEmbedding(),
    "class-aware": ClassAwareMean(weight=0.7, by_accuracy=False),
    "kernel": KernelMMD(),
    "semantic": SemanticDistribution(history_after=-1, history_scale="paper"),
}
every = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)


def sides(context: Context, counts: Sequence[int] = (7, 5, 6), decoded: int = 3) -> list[Pair]:
    """Real and synthetic images of classes of several sizes, with something remembered."""
    size = 3 * 6 * 6  # the embedding of a ConvNet of one block and width 3 on digits of 8 x 8 pixels
    memory: State = {"steps": 1, "history": torch.linspace(-1, 1, 3 * size, dtype=context.dtype).reshape(3, size)}
    pairs = []
    for label, count in enumerate(counts):
        rows = context.data.class_rows(label)
        real, synthetic = (context.data.images(some) for some in (rows[:count], rows[-decoded:]))
        shown = context.spec.normalization.apply(real), context.spec.normalization.apply(synthetic)
        pairs.append(Pair(label, *shown, torch.full((decoded,), label), memory))
    return pairs


def pulls(
    context: Context, objective: EmbeddingDistance, network: str, pairs: list[Pair], train: bool = True
) -> tuple[Tensor, Tensor, View]:
    """Losses, gradients, and the network after the step."""
    architecture = context.network(network)
    view = View(architecture, architecture.initial(context.streams("network")), train=train)
    losses, found = objective.pulls(view, pairs)
    return losses, torch.cat(found), view


def same(found: tuple[Tensor, Tensor, View], expected: tuple[Tensor, Tensor, View]) -> None:
    """Equal to 1e-10 relative to the largest value; what batch norm has recorded, too."""
    for one, other in zip(found[:2], expected[:2], strict=True):
        assert float(other.abs().max()) > 1e-6
        assert float((one - other).abs().max()) <= 1e-10 * float(other.abs().max())
    for name in expected[2].network.buffer_names():
        torch.testing.assert_close(found[2].weights[name], expected[2].weights[name], rtol=1e-10, atol=1e-12)


@pytest.fixture
def _forget_programs() -> Iterator[None]:
    yield
    torch.compiler.reset()


@every
def test_gradients_are_those_of_the_loss(context_of: ContextOf, objective: EmbeddingDistance) -> None:
    """A step takes another way than the loss of one class, which autograd differentiates."""
    context = context_of()
    pairs = sides(context)
    losses, found, view = pulls(context, objective, INSTANCE, pairs)
    leaves = [pair.synthetic.clone().requires_grad_() for pair in pairs]
    values = [objective.compare(view, replace(pair, synthetic=leaf)) for pair, leaf in zip(pairs, leaves, strict=True)]
    torch.testing.assert_close(losses, torch.stack(values).detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(found, torch.cat(torch.autograd.grad(sum(values), leaves)), rtol=1e-10, atol=1e-14)  # type: ignore[arg-type]


@every
@pytest.mark.parametrize("network", [INSTANCE, BATCH])
def test_microbatches_change_nothing(context_of: ContextOf, objective: EmbeddingDistance, network: str) -> None:
    expected = pulls(context_of(), objective, network, sides(context_of()))
    context = context_of(execution=Execution(microbatch=2))
    same(pulls(context, objective, network, sides(context)), expected)


@needs_compiler
@pytest.mark.usefixtures("_forget_programs")
@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("kernel", INSTANCE),
        ("class-aware", BATCH),
        # The rest takes a minute; `semantic` is compiled with an instance norm in the next test.
        *(
            pytest.param(name, network, marks=pytest.mark.slow)
            for name, network in (
                ("mean", INSTANCE),
                ("mean", BATCH),
                ("class-aware", INSTANCE),
                ("kernel", BATCH),
                ("semantic", BATCH),
            )
        ),
    ],
)
def test_compiled_steps_give_the_same(context_of: ContextOf, name: str, network: str) -> None:
    objective = OBJECTIVES[name]
    expected = pulls(context_of(), objective, network, sides(context_of()))
    context = context_of(execution=COMPILED)
    same(pulls(context, objective, network, sides(context)), expected)


@needs_compiler
@pytest.mark.usefixtures("_forget_programs")
def test_classes_of_many_sizes_share_one_program(context_of: ContextOf, portion: Callable[..., object]) -> None:
    from torch._dynamo.utils import counters

    context = context_of(portion(3, 40), execution=COMPILED)
    objective, compiled = OBJECTIVES["semantic"], []
    for counts in ((7, 5, 6), (31, 2, 16), (40, 3, 33)):
        pairs = sides(context, counts)
        same(pulls(context, objective, INSTANCE, pairs), pulls(context_of(), objective, INSTANCE, pairs))
        compiled.append(counters["stats"]["unique_graphs"])
    # More than 32 real images are another power of two.
    assert compiled[1] == compiled[0] and compiled[2] == compiled[0] + 1


@pytest.mark.parametrize("name", ["mean", "class-aware", "semantic"])
def test_batch_norm_sees_all_classes_in_one_batch(context_of: ContextOf, name: str) -> None:
    """As an ordinary module does, once with all real images and once with all decoded ones."""
    context, objective = context_of(), OBJECTIVES[name]
    pairs = sides(context)
    assert objective.joins_classes(context.network(BATCH)) and not objective.joins_classes(context.network(INSTANCE))
    losses, found, view = pulls(context, objective, BATCH, pairs)
    module = view.network._make().double().train()
    module.load_state_dict(view.network.initial(context.streams("network")))
    with torch.no_grad():
        real = module(torch.cat([pair.real for pair in pairs]), "embedding").split([7, 5, 6])
    leaf = torch.cat([pair.synthetic for pair in pairs]).requires_grad_()
    embedding, targets = module(leaf, "embedding"), torch.arange(3).repeat_interleave(3)
    logits = module.classifier(embedding).split(3)
    values = []
    for label, (one, other) in enumerate(zip(real, embedding.split(3), strict=True)):
        value = (one.mean(0) - other.mean(0)).square().sum()
        if isinstance(objective, ClassAwareMean):
            value = value + 0.7 * F.cross_entropy(logits[label], targets[targets == label])
        if isinstance(objective, SemanticDistribution):
            matrices = torch.cov(one.T), torch.cov(other.T)
            value = value + 50 / one.shape[1] * (matrices[0] - matrices[1]).square().sum()
            value = value + 0.2 * (other.mean(0) - pairs[0].memory["history"][label]).square().sum()
        values.append(value)
    torch.testing.assert_close(losses, torch.stack(values).detach(), rtol=1e-10, atol=0)
    (expected,) = torch.autograd.grad(torch.stack(values).sum(), leaf)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)
    # Its running statistics are those of the two batches, and stay with the network.
    for buffer in view.network.buffer_names():
        torch.testing.assert_close(view.weights[buffer], module.state_dict()[buffer], rtol=1e-12, atol=1e-14)
    assert int(view.weights["blocks.0.norm.num_batches_tracked"]) == 2


@pytest.mark.parametrize("size", [1, 2])
def test_batch_norm_joins_classes_whatever_the_block(context_of: ContextOf, size: int) -> None:
    recipe = dm("digits").with_(
        pool__network="convnet2:norm=batch,width=4", sampler__batch_size=5, curriculum__iterations=2
    )
    ends = []
    for block in (10, size):
        loop = Loop(recipe, context_of(), class_block=block)
        state = loop.start()
        for _ in range(2):
            state, losses = loop.step(state)
            assert losses.shape == (3,)
        view = loop.view(state)
        assert view is not None and int(view.weights["blocks.0.norm.num_batches_tracked"]) == 2
        ends.append(state.stored)
    assert torch.equal(ends[0], ends[1])


@every
def test_in_evaluation_classes_stand_alone_with_batch_norm(context_of: ContextOf, objective: EmbeddingDistance) -> None:
    context = context_of()
    pairs = sides(context)
    together = pulls(context, objective, BATCH, pairs, train=False)
    alone = torch.cat([pulls(context, objective, BATCH, [pair], train=False)[1] for pair in pairs])
    torch.testing.assert_close(together[1], alone, rtol=1e-12, atol=0)
    assert not together[2].weights["blocks.0.norm.running_mean"].any()


@dataclass(frozen=True, kw_only=True)
class _Recorded(EmbeddingDistance):
    """Keeps what it is given."""

    seen: ClassVar[list[tuple[int, ...]]] = []

    def distance(self, real: Tensor, share: Tensor, synthetic: Tensor, beside: dict[str, Tensor]) -> Tensor:
        self.seen.append((len(real), len(synthetic), int((share > 0).sum())))
        torch.testing.assert_close(share.sum(), torch.ones_like(share[0]))
        return synthetic.sum()


def test_eager_steps_are_not_padded(context_of: ContextOf) -> None:
    context = context_of()
    _Recorded.seen.clear()
    pulls(context, _Recorded(), INSTANCE, sides(context))
    assert _Recorded.seen == [(7, 3, 7), (5, 3, 5), (6, 3, 6)]


def test_what_it_costs(context_of: ContextOf) -> None:
    load = Workload(iterations=5, steps=2, real=7, decoded=12)
    assert MeanEmbedding().passes(context_of(), load) == 3 * 10 * (7 + 3 * 12)
    assert MeanEmbedding(synthetic_batch=4).passes(context_of(), load) == 3 * 10 * (7 + 3 * 4)


def test_a_negative_batch_is_refused(context_of: ContextOf) -> None:
    with pytest.raises(InputError, match="objective 'mean_embedding' needs synthetic_batch of 0"):
        MeanEmbedding(synthetic_batch=-1).check(context_of())
