from __future__ import annotations

import pytest
import torch

from limbeck.core.streams import Stream
from limbeck.ops import transforms

ONE = ("brightness", "saturation", "contrast", "flip", "rotate")
NEUTRAL = {"brightness": 0.5, "saturation": 0.5, "contrast": 0.5, "flip": 0.7, "rotate": 0.5}


def images(batch: int = 3, height: int = 8, width: int = 6) -> torch.Tensor:
    return Stream(1).normal(batch, 2, height, width)


@pytest.mark.parametrize("name", ONE)
def test_neutral_parameter_changes_nothing(name: str) -> None:
    x = images()
    torch.testing.assert_close(getattr(transforms, name)(x, torch.tensor(NEUTRAL[name])), x)


def test_neutral_shift_and_scale_change_nothing() -> None:
    x = images()
    none = torch.tensor(0)
    assert torch.equal(transforms.crop(x, none, none), x)
    neutral = torch.tensor((1 - 1 / 1.2) / (1.2 - 1 / 1.2), dtype=torch.float64)
    torch.testing.assert_close(transforms.scale(x, neutral, neutral), x)


@pytest.mark.parametrize("name", [*ONE, "scale", "crop", "cutout"])
def test_shared_parameter_equals_the_same_for_each(name: str) -> None:
    x, stream = images(), Stream(2)
    if name in ("crop", "cutout"):
        drawn = [stream.integers(0, 1, 1) for _ in range(2)]
    else:
        drawn = [stream.uniform(1) for _ in range(2 if name == "scale" else 1)]
    operation = getattr(transforms, name)
    each = operation(x, *(values.expand(3) for values in drawn))
    torch.testing.assert_close(operation(x, *drawn), each, rtol=0, atol=0)
    torch.testing.assert_close(operation(x, *(values[0] for values in drawn)), each, rtol=0, atol=0)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", [*ONE, "scale", "crop", "cutout"])
def test_gradients(name: str, shared: bool) -> None:
    x = images(2, 4, 4).requires_grad_()
    stream = Stream(3)
    shape = () if shared else (2,)
    if name in ("crop", "cutout"):
        drawn = [stream.integers(-1, 1, *shape) for _ in range(2)]
    else:
        drawn = [stream.uniform(*shape) for _ in range(2 if name == "scale" else 1)]
    operation = getattr(transforms, name)
    assert torch.autograd.gradcheck(lambda x: operation(x, *drawn), x)
    if name not in ("scale", "rotate"):  # the framework's bilinear sampling has one derivative only
        assert torch.autograd.gradgradcheck(lambda x: operation(x, *drawn), x)


@pytest.mark.parametrize("fill", [None, (0.5, -2.0)])
def test_crop_reads_at_the_shift_and_fills_what_lies_outside(fill: tuple[float, float] | None) -> None:
    x, colour = images(2), torch.tensor(fill or (0.0, 0.0), dtype=torch.float64)
    rows, cols = torch.tensor([2, -1]), torch.tensor([0, 3])
    y = transforms.crop(x, rows, cols, None if fill is None else colour)
    for b in range(2):
        for r in range(8):
            for c in range(6):
                i, j = r + int(rows[b]), c + int(cols[b])
                inside = 0 <= i < 8 and 0 <= j < 6
                assert torch.equal(y[b, :, r, c], x[b, :, i, j] if inside else colour)


@pytest.mark.parametrize(("size", "hole", "limit"), [(32, 16, 32), (28, 14, 28), (10, 5, 9), (1, 1, 0)])
def test_cutout_ranges(size: int, hole: int, limit: int) -> None:
    assert transforms.cutout_size(size) == hole
    assert transforms.cutout_limit(size) == limit
    x = torch.ones(1, 1, size, size)
    for centre in range(limit + 1):
        y = transforms.cutout(x, torch.tensor(centre), torch.tensor(centre))
        covered = {min(max(centre - hole // 2 + i, 0), size - 1) for i in range(hole)}
        assert {i for i in range(size) if y[0, 0, i, i] == 0} == covered
    assert torch.equal(transforms.cutout(x, torch.tensor(0), torch.tensor(0), ratio=0.0), x)


@pytest.mark.parametrize(("size", "limit"), [(32, 4), (28, 4), (16, 2), (64, 8), (8, 1)])
def test_shift_limit(size: int, limit: int) -> None:
    assert transforms.shift_limit(size) == limit


@pytest.mark.parametrize("align", [False, True])
def test_rotation_and_scale_follow_the_grid_convention(align: bool) -> None:
    # A factor of 1.2 on the columns reads the middle of the image at 1.2 times the distance.
    size = 9
    x = torch.arange(size, dtype=torch.float64).expand(1, 1, size, size)
    one = torch.tensor(1.0, dtype=torch.float64)
    neutral = torch.tensor((1 - 1 / 1.2) / (1.2 - 1 / 1.2), dtype=torch.float64)
    y = transforms.scale(x, one, neutral, align_corners=align)
    expected = 4 + 1.2 * (torch.arange(2, 7) - 4)
    torch.testing.assert_close(y[0, 0, 4, 2:7], expected.double())
    turned = transforms.rotate(x, one, align_corners=align)
    angle = torch.deg2rad(torch.tensor(15.0, dtype=torch.float64))
    torch.testing.assert_close(turned[0, 0, 5, 4], 4 - torch.sin(angle))


def test_float32_images_with_float64_draws() -> None:
    x, u = images().float(), Stream(4).uniform(3)
    for name in ONE:
        assert getattr(transforms, name)(x, u).dtype == torch.float32
    assert transforms.scale(x, u, u).dtype == torch.float32


def test_all_compile_without_a_break() -> None:
    def everything(x: torch.Tensor, u: torch.Tensor, i: torch.Tensor) -> torch.Tensor:
        for name in ONE:
            x = getattr(transforms, name)(x, u)
        return transforms.cutout(transforms.crop(transforms.scale(x, u, u), i, i), i, i)

    x, u, i = images(), Stream(5).uniform(3), Stream(6).integers(-1, 1, 3)
    compiled = torch.compile(everything, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, u, i), everything(x, u, i))
