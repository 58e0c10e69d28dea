from __future__ import annotations

import pytest
import torch

from limbeck.parametrizations.plain import Plain


@pytest.mark.parametrize("space", ["unit", "normalized"])
def test_stored_images_are_training_images(space: str) -> None:
    parametrization = Plain(space=space)  # type: ignore[arg-type]
    images = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert parametrization.parts(3) == 3
    assert parametrization.decode(images) is images
    assert parametrization.encode(images, len(images)) is images
    assert parametrization.space == space
