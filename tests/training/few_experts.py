"""A few experts that are trained in no time, and what tests compare of them."""

from __future__ import annotations

from pathlib import Path

import torch

from limbeck.augmentations.dsa_augment import DSAAugment
from limbeck.core.network import Weights
from limbeck.storage.weights import digest
from limbeck.training.expert_folders import Wanted
from limbeck.training.expert_training import ExpertTraining
from limbeck.training.settings import Training

NETWORK = "convnet1:width=4"
TRAINING = Training(lr=0.02, momentum=0.9, weight_decay=1e-3, batch_size=16, augmentation=DSAAugment())
COURSE = ExpertTraining(training=TRAINING, epochs=4)
WANTED = Wanted(network=NETWORK, course=COURSE, count=3, epochs=(0, 1, 2, 4), half=False, seed=0)


def near(ours: Weights, theirs: Weights, tolerance: float = 1e-12) -> None:
    assert list(ours) == list(theirs)
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=tolerance, msg=name)


def files(folder: Path) -> dict[str, str]:
    return {path.name: digest(path) for path in folder.iterdir()}
