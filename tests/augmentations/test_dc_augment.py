from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from limbeck.augmentations.dc_augment import DCAugment
from limbeck.core.errors import InputError
from limbeck.core.streams import Stream, Streams
from limbeck.methods.dsa import dsa
from limbeck.ops import dc_transforms

SHAPE = (2, 8, 8)
EVERYTHING: Any = ("crop", "scale", "rotate", "noise")


def images(count: int = 40) -> torch.Tensor:
    return Stream(3).normal(count, *SHAPE) + torch.tensor([1.0, -3.0]).view(2, 1, 1)


def by_hand(image: torch.Tensor, name: str, means: torch.Tensor, draws: dict[str, torch.Tensor]) -> torch.Tensor:
    """One operation on one image ``[C, H, W]``."""
    if name == "crop":
        pairs = zip(image, means.tolist(), strict=True)
        framed = torch.stack([F.pad(channel, (4, 4, 4, 4), value=mean) for channel, mean in pairs])
        top, left = int(draws["crop_rows"]), int(draws["crop_columns"])
        return framed[:, top : top + 8, left : left + 8]
    if name == "scale":
        return dc_transforms.scale(image[None], draws["scale_rows"][None], draws["scale_columns"][None])[0]
    if name == "rotate":
        return dc_transforms.rotate(image[None], draws["rotate"][None], (means[0] + means[1]) / 2)[0]
    return image + 0.001 * draws["noise"]


@pytest.mark.parametrize("operations", [EVERYTHING, ("noise", "crop"), *[(name,) for name in EVERYTHING]])
def test_every_image_undergoes_its_own_operation(operations: Any) -> None:
    augmentation, x = DCAugment(operations=operations), images()
    means = torch.stack([x[:, 0].mean(), x[:, 1].mean()])
    draws = augmentation.draw(Stream(5), SHAPE, len(x))
    done = augmentation.apply(x, draws)
    for row, image in enumerate(x):
        own = {key: values[row] for key, values in draws.items()}
        expected = by_hand(image, operations[int(own["operation"])], means, own)
        torch.testing.assert_close(done[row], expected, rtol=0, atol=1e-12)
    assert torch.equal(x, images())


def test_operations_are_equally_likely_and_numbers_fill_their_ranges() -> None:
    draws = DCAugment(operations=EVERYTHING).draw(Stream(0), SHAPE, 20_000)
    counts = Counter(draws["operation"].tolist())
    assert sorted(counts) == [0, 1, 2, 3] and all(4700 < count < 5300 for count in counts.values())
    for name in ("crop_rows", "crop_columns"):
        assert sorted(set(draws[name].tolist())) == list(range(8))
    assert sorted(set(draws["rotate"].tolist())) == list(range(-45, 45))
    for name in ("scale_rows", "scale_columns"):
        assert 0.8 <= draws[name].min() < 0.801 and 1.199 < draws[name].max() < 1.2
        assert draws[name].mean() == pytest.approx(1.0, abs=0.003)
    assert not torch.equal(draws["scale_rows"], draws["scale_columns"])
    assert draws["noise"].shape == (20_000, *SHAPE) and draws["noise"].std() == pytest.approx(1, abs=0.01)


def test_only_what_is_listed_is_drawn() -> None:
    draws = DCAugment(operations=("crop", "noise")).draw(Streams(0)("x"), SHAPE, 3)
    assert set(draws) == {"operation", "crop_rows", "crop_columns", "noise"}
    assert int(draws["operation"].max()) <= 1


def test_gradients_flow_through() -> None:
    augmentation, x = DCAugment(operations=EVERYTHING), images(8).requires_grad_()
    draws = augmentation.draw(Stream(1), SHAPE, 8)
    assert torch.autograd.gradcheck(lambda x: augmentation.apply(x, draws), x)


def test_it_cannot_be_shared_by_two_sides(context_of: Any) -> None:
    with pytest.raises(InputError, match="cannot be shared"):
        DCAugment().draw(Stream(0), SHAPE, None)
    recipe = dsa("digits").with_(augmentation=DCAugment())
    with pytest.raises(InputError, match="use 'dsa_augment' or 'idc_augment'"):
        recipe.check(context_of())


def test_wrong_operations_are_refused() -> None:
    with pytest.raises(InputError, match="unknown operation of augmentation 'dc_augment' 'rotat'; did you mean"):
        DCAugment(operations=("rotat",)).draw(Stream(0), SHAPE, 1)  # type: ignore[arg-type]
    for operations in ((), ("crop", "crop")):
        with pytest.raises(InputError, match="each named once"):
            DCAugment(operations=operations).draw(Stream(0), SHAPE, 1)  # type: ignore[arg-type]
