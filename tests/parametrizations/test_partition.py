from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.core.streams import Stream
from limbeck.parametrizations.partition import Partition


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_decoding_crops_and_resizes(factor: int) -> None:
    parametrization, stored, size = Partition(factor=factor), Stream(0).uniform(2, 3, 6, 6), 6 // factor
    decoded = parametrization.decode(stored)
    assert len(decoded) == parametrization.parts(2) == 2 * factor**2
    for part in range(factor**2):
        row, column = divmod(part, factor)
        for image in range(2):
            crop = stored[image, :, size * row : size * (row + 1), size * column : size * (column + 1)]
            expected = F.interpolate(crop[None], size=(6, 6), mode="bilinear", align_corners=False)[0]
            torch.testing.assert_close(decoded[2 * part + image], expected, rtol=0, atol=1e-12)


def test_only_columns_are_cut_in_time() -> None:
    parametrization, stored = Partition(factor=2, axes="columns"), Stream(0).uniform(3, 1, 4, 6)
    assert parametrization.parts(3) == 6
    decoded = parametrization.decode(stored)
    assert decoded.shape == (6, 1, 4, 6)
    halves = F.interpolate(stored[..., 3:], size=(4, 6), mode="bilinear", align_corners=False)
    torch.testing.assert_close(decoded[3:], halves, rtol=0, atol=1e-12)


@pytest.mark.parametrize("axes", ["both", "columns"])
@pytest.mark.parametrize("grid", ["read", "official"])
def test_what_is_packed_is_found_again(axes: str, grid: str) -> None:
    parametrization = Partition(factor=2, axes=axes, grid=grid)  # type: ignore[arg-type]
    # Images of one colour survive the resizing.
    colours = torch.arange(1, parametrization.parts(3) + 1, dtype=torch.float64) / 20
    images = colours.view(-1, 1, 1, 1).expand(-1, 2, 8, 8)
    torch.testing.assert_close(parametrization.decode(parametrization.encode(images, 3)), images.contiguous())


def test_grids_differ_where_the_size_is_no_multiple() -> None:
    images = Stream(0).uniform(9, 1, 7, 7)
    ours, official = (Partition(factor=3, grid=grid).encode(images, 1) for grid in ("read", "official"))  # type: ignore[arg-type]
    assert not torch.equal(ours, official)
    # 7 rows are read in threes, so that the last part has one row; the code writes rows 0-2, 3-4, 5-6.
    assert torch.equal(ours[:, :, :3, :3], official[:, :, :3, :3])


def test_decoding_is_differentiable() -> None:
    parametrization, stored = Partition(factor=2), Stream(0).uniform(1, 1, 4, 4).requires_grad_()
    assert torch.autograd.gradcheck(parametrization.decode, stored)


@pytest.mark.parametrize("factor", [0, 5, -1])
def test_a_factor_that_leaves_no_pixels_is_refused(context_of: Callable[..., Context], factor: int) -> None:
    with pytest.raises(InputError, match=f"cannot cut 8x8 images with factor {factor}; use a factor from 1 to 4"):
        Partition(factor=factor).check(context_of())
    Partition(factor=4).check(context_of())


def test_multi_decodes_with_every_factor() -> None:
    stored = Stream(0).uniform(2, 1, 6, 6)
    parametrization = Partition(factor=3, kind="multi")
    assert parametrization.parts(2) == 2 * (1 + 4 + 9)
    decoded = parametrization.decode(stored)
    assert torch.equal(decoded[:2], stored)
    assert torch.equal(decoded[2:10], Partition(factor=2).decode(stored))
    assert torch.equal(decoded[10:], Partition(factor=3).decode(stored))


def test_bound_decodes_the_first_images_finely_and_keeps_to_the_bound() -> None:
    stored = Stream(0).uniform(5, 1, 6, 6)
    parametrization = Partition(factor=3, kind="bound", bound=20)
    # One image in nine parts leaves room for 11: (20 - 9 - 4) // 4 = 1 in four, three as they are.
    assert parametrization.parts(5) == 9 + 4 + 3
    decoded = parametrization.decode(stored)
    assert torch.equal(decoded[:9], Partition(factor=3).decode(stored[:1]))
    assert torch.equal(decoded[9:13], Partition(factor=2).decode(stored[1:2]))
    assert torch.equal(decoded[13:], stored[2:])
    assert Partition(factor=3, kind="bound", bound=4).parts(5) == 5


@pytest.mark.parametrize("kind", ["multi", "bound"])
def test_other_kinds_pack_what_they_decode_most_finely(kind: str) -> None:
    parametrization = Partition(factor=2, kind=kind, bound=10)  # type: ignore[arg-type]
    colours = torch.arange(1, parametrization.parts(3) + 1, dtype=torch.float64) / 20
    images = colours.view(-1, 1, 1, 1).expand(-1, 2, 8, 8)
    stored = parametrization.encode(images, 3)
    assert stored.shape == (3, 2, 8, 8)
    decoded = parametrization.decode(stored)
    fine = slice(3, None) if kind == "multi" else slice(None)
    torch.testing.assert_close(decoded[fine], images[fine].contiguous())


@pytest.mark.parametrize("wrong", [{"kind": "multi", "axes": "columns"}, {"kind": "bound", "bound": 0}])
def test_wrong_kinds_are_refused(wrong: dict[str, object], context_of: Callable[..., Context]) -> None:
    with pytest.raises(InputError, match="parametrization 'partition'"):
        Partition(**wrong).check(context_of())  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["single", "multi", "bound"])
def test_crops_are_counted_by_columns(kind: str) -> None:
    stored = Stream(0).uniform(2, 1, 6, 6)
    rows, columns = (Partition(factor=3, kind=kind, order=order, bound=18) for order in ("rows", "columns"))  # type: ignore[arg-type]
    # Transposed images show the same crops, each transposed, in the other order.
    turned = columns.decode(stored.transpose(2, 3)).transpose(2, 3)
    torch.testing.assert_close(rows.decode(stored), turned, rtol=0, atol=1e-12)
    assert not torch.equal(rows.decode(stored), columns.decode(stored))
    images = Stream(1).uniform(rows.parts(2), 1, 6, 6)
    packed = columns.encode(images.transpose(2, 3), 2).transpose(2, 3)
    assert torch.equal(rows.encode(images, 2), packed)


@pytest.mark.parametrize("kind", ["single", "multi", "bound"])
def test_the_value_of_added_rows(kind: str) -> None:
    stored = torch.full((1, 1, 5, 5), 3.0, dtype=torch.float64)
    for pad in (0.5, -2.0):
        decoded = Partition(factor=2, kind=kind, bound=5, pad=pad).decode(stored)  # type: ignore[arg-type]
        assert float(decoded[-1].min()) == pytest.approx(pad)
        assert float(decoded[-1].max()) == pytest.approx(3.0)


def test_bilinear_packing_takes_the_mean_of_two_by_two() -> None:
    images = Stream(0).uniform(8, 3, 6, 6)
    packed = Partition(factor=2, resample="bilinear").encode(images, 2)
    torch.testing.assert_close(packed[:, :, :3, 3:], F.avg_pool2d(images[2:4], 2), rtol=0, atol=1e-12)
    assert torch.equal(Partition(factor=2).encode(images, 2)[:, :, :3, 3:], images[2:4, :, ::2, ::2])


def test_defaults_are_what_was_done_before_there_were_fields() -> None:
    assert {name: getattr(Partition(), name) for name in Partition.added} == Partition.added


def test_odd_sides_are_padded_in_any_order(context_of: Callable[..., Context]) -> None:
    part = Partition(factor=3, order="columns", resample="bilinear")
    part.check(context_of())
    assert part.decode(part.encode(Stream(0).uniform(9, 1, 8, 8), 1)).shape == (9, 1, 8, 8)
    with pytest.raises(InputError, match="needs a finite pad, not nan"):
        Partition(pad=float("nan")).check(context_of())
