from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.network import FunctionalNetwork, Network, Output
from limbeck.core.recipe import Recipe
from limbeck.core.streams import Stream
from limbeck.data.images import ImageSet
from limbeck.engine.loop import Loop
from limbeck.methods.dm import dm
from limbeck.objectives.mean_embedding import MeanEmbedding
from limbeck.objectives.siamese import Pair


class Flat(Network):
    """A network whose embedding is the image."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(64, 3)

    def forward(self, x: Tensor, output: Output = "logits") -> Tensor | tuple[Tensor, ...]:
        rows = x.flatten(1)
        if output == "layers":
            return x, rows, self.classifier(rows)
        return rows if output == "embedding" else self.classifier(rows)


def flat(context: Context) -> FunctionalNetwork:
    return FunctionalNetwork("flat", Flat).to(context.device, context.dtype)


def toy(context: Context) -> tuple[Loop, Recipe]:
    """DM on whole classes that looks at the images themselves."""
    object.__setattr__(context, "build", lambda name, spec: FunctionalNetwork("flat", Flat))
    recipe = dm("digits").with_(
        augmentation=None,
        parametrization__space="normalized",
        sampler__batch_size=1000,
        curriculum__iterations=60,
        optimizer__lr=0.1,
        optimizer__clamp=False,
    )
    return Loop(recipe, context), recipe


def test_it_is_the_squared_distance_of_the_means(context_of: Callable[..., Context]) -> None:
    context = context_of()
    network = flat(context)
    real, synthetic = Stream(0).normal(5, 1, 8, 8), Stream(1).normal(2, 1, 8, 8)
    pair = Pair(0, real, synthetic, torch.zeros(2, dtype=torch.int64))
    losses, (pull,) = MeanEmbedding().pulls(View(network, network.initial(Stream(2))), [pair])
    apart = synthetic.mean(dim=0) - real.mean(dim=0)
    torch.testing.assert_close(losses, apart.square().sum()[None], rtol=1e-12, atol=0)
    # Each of the two images carries half of the mean.
    torch.testing.assert_close(pull, apart.expand(2, 1, 8, 8), rtol=1e-12, atol=1e-15)


def test_one_image_per_class_finds_the_mean_of_the_class(
    context_of: Callable[..., Context], portion: Callable[..., ImageSet]
) -> None:
    """With the image as its embedding, that is the known optimum of DM."""
    context = context_of(portion(3, [12, 9, 7]), ipc=1)
    loop, _ = toy(context)
    state = loop.start()
    first = None
    while state.ordinal < loop.length():
        state, losses = loop.step(state)
        first = losses if first is None else first
    means = torch.stack(
        [
            context.spec.normalization.apply(context.data.images(context.data.class_rows(label))).mean(dim=0)
            for label in range(3)
        ]
    )
    torch.testing.assert_close(state.stored[:, 0], means, rtol=0, atol=1e-7)
    assert first is not None and (losses < 1e-10 * first).all()


def test_several_images_share_the_mean(context_of: Callable[..., Context]) -> None:
    """Only their mean is told, so that their differences stay as they began."""
    context = context_of(ipc=2)
    loop, _ = toy(context)
    state = loop.start()
    apart = state.stored[:, 0] - state.stored[:, 1]
    while state.ordinal < loop.length():
        state, _ = loop.step(state)
    means = [context.data.images(context.data.class_rows(label)).mean(dim=0) for label in range(3)]
    expected = context.spec.normalization.apply(torch.stack(means))
    torch.testing.assert_close(state.stored.mean(dim=1), expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(state.stored[:, 0] - state.stored[:, 1], apart, rtol=0, atol=1e-12)
    assert float(apart.abs().max()) > 0.1
