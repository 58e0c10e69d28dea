from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec, Normalization
from limbeck.core.whitening import Whitening
from limbeck.networks import build
from limbeck.networks.pretrained_timm import check_timm_weights, timm_classes, timm_weights

timm = pytest.importorskip("timm")
Spec = Callable[..., DataSpec]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """timm's download, answered by a made-up model; nothing is fetched. Holds the model and what was asked."""
    answer: dict[str, Any] = {"asked": []}
    create = timm.create_model

    def made(name: str, pretrained: bool = False, **options: Any) -> torch.nn.Module:
        if not pretrained:
            return create(name, pretrained=False, **options)
        answer["asked"].append(name)
        if "error" in answer:
            raise answer["error"]
        return answer["model"]

    monkeypatch.setattr(timm, "create_model", made)
    yield answer


def made_up(model: str) -> torch.nn.Module:
    """A model of timm's whose statistics and weights are not those of a fresh one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        body = timm.create_model(model).eval()
        for buffer in body.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
    return body


@pytest.mark.parametrize("model", ["resnet10t", "mobilenetv3_small_050"])
def test_logits_are_those_of_timm(model: str, spec: Spec, hub: dict[str, Any]) -> None:
    hub["model"] = body = made_up(model)
    data, state = spec(3, 64, 64, classes=1000), torch.get_rng_state()
    weights = timm_weights(f"timm:{model}", data)
    assert torch.equal(state, torch.get_rng_state())
    network = build(f"timm:{model}", data)
    assert list(weights) == list(network.module().state_dict())
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(network(weights, x, train=False), body(x))
    (asked,) = hub["asked"]
    assert asked.startswith(f"{model}.")


def test_classes_choose_rows_and_tags_choose_weights(spec: Spec, hub: dict[str, Any]) -> None:
    hub["model"] = body = made_up("resnet18")
    data, chosen = spec(3, 64, 64, classes=3), [999, 0, 217]
    weights = timm_weights("timm:resnet18", data, "a2_in1k", chosen)
    assert hub["asked"] == ["resnet18.a2_in1k"] and timm_classes("timm:resnet18", "a2_in1k") == 1000
    assert torch.equal(weights["classifier.weight"], body.state_dict()["fc.weight"][chosen])


def test_nothing_is_downloaded_for_what_cannot_fit(spec: Spec, hub: dict[str, Any]) -> None:
    large = spec(3, 224, 224, classes=1000)
    one = Whitening(torch.eye(4), torch.ones(4), torch.zeros(4))
    white = replace(large, normalization=Normalization((0.0,) * 3, (1.0,) * 3, "zca", one))
    for name, data, which, message in (
        ("resnet18", large, "default", "timm has weights for its own models only, not for 'resnet18'"),
        ("timm:resnet18", spec(3, 224, 224), "default", "know 1000 classes, the data have 10; say by classes="),
        ("timm:resnet18", large, "V9", "unknown timm's weights of 'resnet18' 'V9'"),
        ("timm:resnet18:norm=group", large, "default", "trained with the model's own norm, not with norm=group"),
        ("timm:resnet18", spec(1, 224, 224, 1000), "default", "need images with 3 channels, not 1"),
        ("timm:resnet18", white, "default", "images normalized by channel, and these are whitened"),
        ("timm:vit_tiny_patch16_224", large, "augreg_in21k_ft_in1k", "other than ImageNet's mean and deviation"),
        (
            "timm:deit_tiny_patch16_224",
            spec(3, 64, 64, 1000),
            "default",
            "need images of 224 x 224 pixels, not 64 x 64",
        ),
    ):
        with pytest.raises(InputError, match=message) as caught:
            check_timm_weights(name, data, which)
        assert "\n" not in str(caught.value)
    assert hub["asked"] == []


def test_a_download_that_fails(spec: Spec, hub: dict[str, Any]) -> None:
    hub["error"] = OSError("no route to host")
    with pytest.raises(
        InputError, match=r"'a1_in1k' could not be downloaded \(no route to host\); fetch them elsewhere"
    ):
        timm_weights("timm:resnet18", spec(3, 64, 64, classes=1000))
