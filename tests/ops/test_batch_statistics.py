from __future__ import annotations

import pytest
import torch

from limbeck.core.streams import Stream
from limbeck.ops.batch_statistics import distances, total_variation, weighted

CLOSE = {"rtol": 1e-13, "atol": 1e-13}


def pair(mean: list[float], variance: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(mean, dtype=torch.float64), torch.tensor(variance, dtype=torch.float64)


SEEN = [pair([1.0, 2.0], [4.0, 1.0]), pair([0.0, 0.0, 5.0], [1.0, 1.0, 1.0])]
RECORDED = [pair([4.0, -2.0], [4.0, 7.0]), pair([2.0, 3.0, -1.0], [0.0, 3.0, 3.0])]


def test_norms_over_channels_by_hand() -> None:
    means, variances = distances(SEEN, RECORDED)
    torch.testing.assert_close(means, torch.tensor([5.0, 7.0], dtype=torch.float64), **CLOSE)
    torch.testing.assert_close(variances, torch.tensor([6.0, 3.0], dtype=torch.float64), **CLOSE)
    means, variances = distances(SEEN, RECORDED, squared=True)
    torch.testing.assert_close(means, torch.tensor([25.0, 49.0], dtype=torch.float64), **CLOSE)
    torch.testing.assert_close(variances, torch.tensor([36.0, 9.0], dtype=torch.float64), **CLOSE)


def test_layers_that_do_not_match_are_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        distances(SEEN, RECORDED[:1])


def test_the_first_layer_counts_more_in_both_terms() -> None:
    means, variances = distances(SEEN, RECORDED)
    assert float(weighted(means, variances, 1.0, 0.0, 1.0)) == pytest.approx(5 + 7)
    assert float(weighted(means, variances, 0.0, 1.0, 1.0)) == pytest.approx(6 + 3)
    assert float(weighted(means, variances, 0.01, 0.11, 10.0)) == pytest.approx(
        0.01 * (10 * 5 + 7) + 0.11 * (10 * 6 + 3)
    )


def test_total_variation_pixel_by_pixel() -> None:
    images = Stream(0).normal(2, 3, 5, 4)
    squares, absolute = [0.0] * 4, [[], [], [], []]  # type: ignore[var-annotated]
    for image in images:
        for channel in image:
            for row in range(5):
                for column in range(4):
                    # Across, down, and along both diagonals.
                    for number, (down, across) in enumerate([(0, 1), (1, 0), (-1, 1), (1, 1)]):
                        if 0 <= row + down < 5 and column + across < 4:
                            difference = float(channel[row, column] - channel[row + down, column + across])
                            squares[number] += difference**2
                            absolute[number].append(abs(difference))
    norms, means = total_variation(images)
    assert float(norms) == pytest.approx(sum(square**0.5 for square in squares), rel=1e-12)
    assert float(means) == pytest.approx(sum(sum(some) / len(some) for some in absolute), rel=1e-12)


def test_gradients() -> None:
    x = Stream(1).normal(2, 1, 4, 4).requires_grad_()
    assert torch.autograd.gradcheck(total_variation, x)
    means = Stream(2).normal(3).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: distances([(m, m**2)], [(torch.zeros(3), torch.ones(3))]), means)
