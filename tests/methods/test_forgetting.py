from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.engine.loop import Loop
from limbeck.initializers.coresets import Forgetting
from limbeck.labelers.hard import Hard
from limbeck.methods.forgetting import PRESETS, forgetting
from limbeck.parametrizations.plain import Plain
from limbeck.training.supervised import Training


def test_the_recipe_trains_its_own_network() -> None:
    recipe = forgetting()
    assert dict(recipe.parts()) == {"initializer": Forgetting(), "parametrization": Plain(), "labeler": Hard()}
    assert recipe.cite() == ("toneva2019forgetting",)


def test_the_defaults_are_those_of_deepcore() -> None:
    initializer = forgetting().initializer
    assert initializer == Forgetting(
        network="convnet3",
        training=Training(lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, batch_size=256, augmentation=None),
        epochs=40,
        never_learned="zero",
    )


def test_presets() -> None:
    assert PRESETS == ("default", "small", "digits", "fsdd")
    assert forgetting("small").initializer == Forgetting(network="convnet3:width=32", epochs=10)
    assert forgetting("digits").initializer == Forgetting(network="convnet3:width=32")
    assert forgetting("fsdd").initializer == Forgetting(network="convnet4:width=16")
    for preset in PRESETS:
        forgetting(preset).check()


def test_the_result_is_what_is_picked(context_of: Callable[..., Context]) -> None:
    context = context_of(ipc=3)
    recipe = forgetting("digits").with_(initializer__network="convnet1:width=4", initializer__epochs=3)
    loop = Loop(recipe, context)
    assert loop.length() == 0
    stored = loop.start().stored
    assert torch.equal(stored, recipe.initializer.images(context, recipe.parametrization, None))
    for label in range(3):
        real = context.data.images(context.data.class_rows(label)).flatten(1)
        found = [(real == image).all(dim=1).nonzero()[0, 0].item() for image in stored[label].flatten(1)]
        assert len(set(found)) == 3


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown preset of forgetting 'digts'; did you mean 'digits'\?"):
        forgetting("digts")
