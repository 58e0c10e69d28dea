from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from limbeck.core.context import Context
from limbeck.initializers.real import Mixed, Real
from limbeck.ops import partition
from limbeck.parametrizations.partition import Partition
from limbeck.parametrizations.plain import Plain


def members_of(context: Context, images: torch.Tensor, label: int) -> list[int]:
    """Positions in the class of real images; digits are all different."""
    real = context.data.images(context.data.class_rows(label))
    return [int((real - image).abs().sum(dim=(1, 2, 3)).argmin()) for image in images]


@pytest.mark.parametrize("initializer", [Real(), Mixed()])
def test_different_real_images_of_the_class(context_of: Callable[..., Context], initializer: Real | Mixed) -> None:
    context = context_of(ipc=5)
    images = initializer.images(context, Plain(), None)
    assert images.shape == (3, 5, 1, 8, 8)
    for label in range(3):
        rows = members_of(context, images[label], label)
        assert len(set(rows)) == 5
        assert torch.equal(images[label], context.data.images(context.data.class_rows(label)[rows]))


def test_which_images_depends_on_seed_and_class(context_of: Callable[..., Context]) -> None:
    picks = set()
    for seed in (0, 1):
        context = context_of(ipc=5, seed=seed)
        images = Real().images(context, Plain(), None)
        picks |= {tuple(members_of(context, images[label], label)) for label in range(3)}
    assert len(picks) == 6


def test_mixed_packs_as_the_parametrization_unpacks(context_of: Callable[..., Context]) -> None:
    context = context_of(ipc=2)
    stored = Mixed().images(context, Partition(factor=2), None)
    assert stored.shape == (3, 2, 1, 8, 8)
    # With as many images at full size, source k * n + i is part k of stored image i, every second pixel.
    sources = Real().images(context_of(ipc=8), Plain(), None)
    for part, (row, column) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4)]):
        for image in range(2):
            quarter = stored[:, image, :, row : row + 4, column : column + 4]
            assert torch.equal(quarter, sources[:, part * 2 + image, :, ::2, ::2])


def test_real_stays_at_full_size_when_images_are_packed(context_of: Callable[..., Context]) -> None:
    context = context_of(ipc=2)
    assert torch.equal(Real().images(context, Partition(factor=2), None), Real().images(context, Plain(), None))


def test_a_class_with_too_few_images_repeats_them(
    context_of: Callable[..., Context], portion: Callable[..., object]
) -> None:
    context = context_of(portion(3, [12, 3, 12]), ipc=2)
    decoded = partition.decode(Mixed().images(context, Partition(factor=2), None)[1], 2)
    # 8 images of 3: the first two appear three times, the last twice.
    assert torch.equal(decoded[:3], decoded[3:6]) and torch.equal(decoded[:2], decoded[6:])
    assert not torch.equal(decoded[0], decoded[1])


def test_every_part_may_have_a_draw_of_its_own(context_of: Callable[..., Context]) -> None:
    context = context_of(ipc=5)
    sources: list[list[int]] = []

    class Keeping(Partition):
        def encode(self, images: torch.Tensor, ipc: int) -> torch.Tensor:
            sources.append(members_of(context, images, len(sources)))
            return super().encode(images, ipc)

    stored = Mixed(choice="independent").images(context, Keeping(factor=2), None)
    assert stored.shape == (3, 5, 1, 8, 8)
    for label, rows in enumerate(sources):
        draws = [rows[first : first + 5] for first in range(0, 20, 5)]
        assert all(len(set(draw)) == 5 for draw in draws)
        # 20 of 12 images: drawn independently, some come again before all have come.
        assert len(set(map(tuple, draws))) == 4
        for number, draw in enumerate(draws):
            order = context.streams("initial images", label, number).permutation(12)[:5]
            assert draw == order.tolist()
    together = Mixed().images(context, Partition(factor=2), None)
    assert not torch.equal(together, stored)


@pytest.mark.parametrize("choice", ["independent", "first"])
@pytest.mark.parametrize("kind", ["single", "multi", "bound"])
def test_every_choice_fills_every_kind_of_mosaic(context_of: Callable[..., Context], choice: str, kind: str) -> None:
    context = context_of(ipc=3)
    stored = Mixed(choice=choice).images(context, Partition(factor=2, kind=kind, bound=9), None)  # type: ignore[arg-type]
    assert stored.shape == (3, 3, 1, 8, 8)
    assert (stored.flatten(2).amax(dim=2) > 0).all()


def test_the_first_images_are_those_of_the_data_set(context_of: Callable[..., Context]) -> None:
    context = context_of(ipc=2)
    stored = Mixed(choice="first").images(context, Partition(factor=2), None)
    for label in range(3):
        first = context.data.images(context.data.class_rows(label)[:8])
        assert torch.equal(stored[label], Partition(factor=2).encode(first, 2))
    plain = Mixed(choice="first").images(context_of(ipc=5), Plain(), None)
    assert members_of(context, plain[1], 1) == [0, 1, 2, 3, 4]


def test_only_the_random_choice_depends_on_the_seed(context_of: Callable[..., Context]) -> None:
    for choice in ("random", "independent", "first"):
        one, other = (
            Mixed(choice=choice).images(context_of(ipc=3, seed=seed), Partition(factor=2), None)  # type: ignore[arg-type]
            for seed in (0, 1)
        )
        assert torch.equal(one, other) == (choice == "first")
