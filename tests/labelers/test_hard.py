from __future__ import annotations

import torch

from limbeck.labelers.hard import Hard


def test_every_decoded_image_carries_its_class() -> None:
    targets = Hard().targets(7, 4)
    assert targets.tolist() == [7] * 4
    assert targets.dtype == torch.int64
