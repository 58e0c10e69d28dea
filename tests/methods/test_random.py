from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import limbeck as lb
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.data.images import ImageSet
from limbeck.data.splits import Data
from limbeck.initializers.real import Real
from limbeck.labelers.hard import Hard
from limbeck.methods.random import PRESETS, random
from limbeck.parametrizations.plain import Plain


def test_the_recipe_learns_nothing() -> None:
    recipe = random()
    assert dict(recipe.parts()) == {"initializer": Real(), "parametrization": Plain(), "labeler": Hard()}
    assert PRESETS == ("default",)


def test_the_result_is_real_images(portion: Callable[..., ImageSet], context_of: Callable[..., Context]) -> None:
    train = portion()
    data = Data(train=train, validation=None, test=None, spec=train.spec)
    settings = lb.Settings(progress="quiet", device="cpu")
    distilled = lb.distill(random(), data, ipc=3, seed=4, settings=settings)
    expected = Real().images(context_of(train, ipc=3, seed=4, dtype=torch.float32), Plain(), None)
    assert torch.equal(distilled.stored, expected)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown preset of random 'defalt'; did you mean 'default'\?"):
        random("defalt")
