from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.engine.loop import Loop
from limbeck.initializers.coresets import Herding
from limbeck.labelers.hard import Hard
from limbeck.methods.herding import PRESETS, herding
from limbeck.ops import selection
from limbeck.parametrizations.plain import Plain
from limbeck.pools.pretrained import Pretrained


def test_the_recipe_selects_by_a_network_trained_on_real_images() -> None:
    recipe = herding()
    assert dict(recipe.parts()) == {
        "initializer": Herding(),
        "parametrization": Plain(),
        "labeler": Hard(),
        "pool": Pretrained(network="convnet3", epochs=20, count=1),
    }
    assert recipe.cite() == ("welling2009herding",)


def test_presets() -> None:
    assert PRESETS == ("default", "small", "digits", "fsdd")
    assert herding("small").pool == Pretrained(network="convnet3:width=32", epochs=3)
    assert herding("digits").pool == Pretrained(network="convnet3:width=32", epochs=20)
    assert herding("fsdd").pool == Pretrained(network="convnet4:width=16", epochs=20)
    for preset in PRESETS:
        herding(preset).check()


def test_it_chooses_what_the_selection_chooses(context_of: Callable[..., Context]) -> None:
    context = context_of(ipc=3)
    recipe = herding("digits").with_(pool__network="convnet1:width=4", pool__epochs=2)
    loop = Loop(recipe, context)
    assert loop.length() == 0
    state = loop.start()
    view = loop.view(state)
    assert view is not None
    module = view.network._make().double().eval()
    module.load_state_dict(view.weights)
    for label in range(3):
        members = context.data.class_rows(label)
        with torch.no_grad():
            features = module(context.spec.normalization.apply(context.data.images(members)), "embedding")
        assert torch.equal(state.stored[label], context.data.images(members[selection.herding(features, 3)]))


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown preset of herding 'digts'; did you mean 'digits'\?"):
        herding("digts")
