import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.methods.dm import dm
from limbeck.methods.random import random

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what its dependencies say when they are imported
    pytest.importorskip("avalanche", reason="needs Avalanche: pip install limbeck[avalanche]")
    from avalanche.benchmarks import nc_benchmark
    from avalanche.training.plugins import ReplayPlugin
    from avalanche.training.supervised import Naive

    from limbeck.continual.avalanche import DistilledExemplars

pytestmark = pytest.mark.filterwarnings("ignore")


def benchmark(shift: float = 0.0, scale: float = 1.0):
    """Avalanche's own benchmark of new classes, over scikit-learn's digits: five experiences of two classes."""
    digits = load_digits()
    images = (torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16 - shift) / scale
    labels = torch.tensor(digits.target)
    parts = []
    for rows in (torch.arange(0, 1200), torch.arange(1200, 1797)):
        part = TensorDataset(images[rows], labels[rows])
        part.targets = labels[rows].tolist()
        parts.append(part)
    return nc_benchmark(*parts, n_experiences=5, task_labels=False, fixed_class_order=[3, 8, 0, 1, 2, 9, 4, 7, 5, 6])


def learnt(memory: DistilledExemplars | None, epochs: int = 8) -> float:
    """Accuracy on all classes after all experiences, with a memory or with none."""
    torch.manual_seed(0)
    stream = benchmark()
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    plugins = [] if memory is None else [ReplayPlugin(mem_size=memory.max_size, storage_policy=memory)]
    strategy = Naive(
        model=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9),
        criterion=nn.CrossEntropyLoss(),
        train_mb_size=32,
        train_epochs=epochs,
        plugins=plugins,
        evaluator=None,
    )
    for experience in stream.train_stream:
        strategy.train(experience)
    right = total = 0
    with torch.no_grad():
        for experience in stream.test_stream:
            for image, label, *_ in experience.dataset:
                right += int(network(image.unsqueeze(0)).argmax()) == int(label)
                total += 1
    return right / total


def recipe() -> Recipe:
    made = dm("digits")
    return replace(made, curriculum=replace(made.curriculum, iterations=30))


def test_what_is_kept_of_earlier_classes_keeps_them_from_being_forgotten() -> None:
    memory = DistilledExemplars(50, recipe(), classes=10)
    assert learnt(None) < 0.3  # the last two classes
    assert learnt(memory) > 0.6
    assert len(memory.buffer) == 50 and sorted(memory.sets) == list(range(10))


def test_exemplars_are_what_the_recipe_distils_of_one_experience(tmp_path: Path) -> None:
    first = next(iter(benchmark().train_stream))
    memory = DistilledExemplars(40, recipe(), classes=10, out=tmp_path)
    memory.post_adapt(None, first)
    assert sorted(memory.sets) == [3, 8] and memory.ipc == 4
    image, label, *_ = memory.buffer[0]
    assert label == 3 and torch.equal(image, memory.sets[3][0])
    again = DistilledExemplars(40, recipe(), classes=10, out=tmp_path)
    again.post_adapt(None, first)  # read back
    fresh = DistilledExemplars(40, recipe(), classes=10)
    fresh.post_adapt(None, first)
    for other in (again, fresh):
        assert all(torch.equal(memory.sets[number], other.sets[number]) for number in (3, 8))
    with pytest.raises(InputError, match="class 3 comes again"):
        memory.post_adapt(None, first)


def test_normalized_benchmarks_get_normalized_exemplars() -> None:
    plain = DistilledExemplars(20, random(), classes=10)
    plain.post_adapt(None, next(iter(benchmark().train_stream)))
    seen = next(iter(benchmark(0.3, 0.5).train_stream))
    with pytest.raises(InputError, match="give the mean and std"):
        DistilledExemplars(20, random(), classes=10).post_adapt(None, seen)
    normalized = DistilledExemplars(20, random(), classes=10, mean=(0.3,), std=(0.5,))
    normalized.post_adapt(None, seen)
    assert torch.allclose(normalized.sets[8] * 0.5 + 0.3, plain.sets[8], atol=1e-6)


def test_a_smaller_memory_keeps_the_first_of_every_class() -> None:
    memory = DistilledExemplars(40, random(), classes=10)
    memory.post_adapt(None, next(iter(benchmark().train_stream)))
    before = {number: images.clone() for number, images in memory.sets.items()}
    memory.resize(None, 20)
    assert memory.max_size == 20 and memory.ipc == 2 and len(memory.buffer) == 4
    assert all(torch.equal(memory.sets[number], before[number][:2]) for number in before)


def test_a_memory_of_less_than_one_image_a_class_is_refused() -> None:
    with pytest.raises(InputError, match="9 exemplars are less than one for each of 10 classes"):
        DistilledExemplars(9, random(), classes=10)
