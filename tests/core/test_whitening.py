from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.core.streams import Stream
from limbeck.core.whitening import Whitening, spectral_power


def made(values: int = 12, seed: int = 0) -> Whitening:
    stream = Stream(seed)
    basis = torch.linalg.qr(stream.normal(values, values).double()).Q
    return Whitening(basis.float(), stream.uniform(values).float(), stream.uniform(values).float())


def images(*leading: int, seed: int = 1) -> Tensor:
    return Stream(seed).uniform(*leading, 3, 2, 2).double()


def test_the_power_of_a_matrix_is_that_of_its_eigenvalues() -> None:
    one = made()
    basis, variances = one.basis.double(), one.variances.double()
    covariance = (basis * variances) @ basis.T + 0.1 * torch.eye(12, dtype=torch.float64)
    root = spectral_power(basis, variances, 0.1, 0.5)
    torch.testing.assert_close(root @ root, covariance, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(root, root.T)


def test_images_are_flattened_channel_by_channel() -> None:
    one, shown = made(), images(4)
    matrix = spectral_power(one.basis.double(), one.variances.double(), 0.1, -0.5)
    rows = torch.stack([torch.cat([channel.reshape(-1) for channel in image]) for image in shown])
    expected = ((rows - one.mean.double()) @ matrix).view(4, 3, 2, 2)
    torch.testing.assert_close(one.apply(shown), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_inverts_in_either_dtype(dtype: torch.dtype) -> None:
    one, shown = made(), images(2, 5).to(dtype)
    seen = one.apply(shown)
    assert seen.dtype == dtype and seen.shape == shown.shape
    torch.testing.assert_close(one.invert(seen), shown, rtol=0, atol=2e-6)
    torch.testing.assert_close(one.apply(shown[1, 3]), seen[1, 3], rtol=0, atol=2e-6)


def test_matrices_are_rounded_from_float64_and_made_once() -> None:
    one = made()
    assert torch.equal(one.matrix(), one.matrix(dtype=torch.float64).float())
    assert torch.equal(one.inverse(), one.inverse(dtype=torch.float64).float())
    assert one.matrix() is one.matrix() and one.matrix() is not one.inverse()


def test_gradients_pass_through() -> None:
    one, shown = made(), images(2).requires_grad_()
    assert torch.autograd.gradcheck(one.apply, (shown,)) and torch.autograd.gradcheck(one.invert, (shown,))


def test_matrices_made_in_inference_mode_can_be_differentiated_through() -> None:
    one = made()
    with torch.inference_mode():
        one.apply(images(1))
    shown = images(1).requires_grad_()
    one.apply(shown).sum().backward()
    assert shown.grad is not None


def test_it_vectorizes_and_compiles() -> None:
    one, shown = made(), images(2, 3)
    assert torch.allclose(torch.func.vmap(one.apply)(shown), one.apply(shown))
    compiled = torch.compile(one.apply, backend="eager", fullgraph=True)
    assert torch.equal(compiled(shown), one.apply(shown))


def test_equal_definitions_are_equal_and_travel() -> None:
    one = made()
    one.apply(images(1))
    others = [made(), copy.deepcopy(one), pickle.loads(pickle.dumps(one)), replace(one)]
    for other in others:
        assert other == one and hash(other) == hash(one) and other.digest == one.digest
        assert torch.equal(other.matrix(), one.matrix())
        assert one.difference(other) == ""
    for other in (made(seed=1), replace(one, eps=0.2), replace(one, mean=one.mean + 1), None, 3):
        assert other != one
    # What is made of the definition stays here.
    assert len(pickle.dumps(one)) < 4 * one.bytes


def test_the_same_fit_of_another_machine_is_no_difference() -> None:
    one = made()
    signs = torch.tensor([1.0, -1.0] * 6)
    turned = replace(one, basis=one.basis * signs, mean=one.mean + 1e-8)
    assert turned != one and one.difference(turned) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: made(4), "values of an image: 12 and 4"),
        (lambda one: replace(one, eps=0.2), "eps: 0.1 and 0.2"),
        (lambda one: replace(one, mean=one.mean + torch.eye(12)[3]), "mean[3]: "),
        (lambda one: replace(one, variances=one.variances * 1.1), "matrix[0, 0]: "),
    ],
)
def test_the_first_difference_is_named(change: Callable[[Whitening], Whitening], said: str) -> None:
    assert made().difference(change(made())).startswith(said)


@pytest.mark.parametrize("shape", [(12,), (2, 2, 3, 2), (1, 1, 1), (3, 1, 1)])
def test_other_images_are_refused(shape: tuple[int, ...]) -> None:
    one = made()
    shown = torch.zeros(shape)
    if shown.ndim == 4:
        one.apply(shown)  # as many values: nobody can tell
        return
    for way in (one.apply, one.invert):
        with pytest.raises(InputError, match="fitted to images of 12 values"):
            way(shown)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"basis": torch.zeros(12, 11)}, "'basis' .* must be float32 of shape"),
        ({"mean": torch.zeros(12).double()}, "'mean' .* not torch.float64"),
        ({"mean": torch.full((12,), float("nan"))}, "'mean' .* not finite"),
        ({"variances": torch.full((12,), -1.0)}, "none below 0"),
        ({"eps": 0.0}, "eps above 0"),
    ],
    ids=str,
)
def test_what_is_no_whitening_is_refused(changes: dict[str, Tensor], said: str) -> None:
    with pytest.raises(InputError, match=said):
        replace(made(), **changes)
