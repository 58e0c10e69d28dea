from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torchvision.models

from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec, Normalization
from limbeck.core.whitening import Whitening
from limbeck.networks import build, pretrained_weights, torchvision_categories

Spec = Callable[..., DataSpec]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """torchvision's download, answered by a made-up model; nothing is fetched. Holds the model and what was asked."""
    answer: dict[str, Any] = {"urls": []}

    def load(url: str, *arguments: Any, **options: Any) -> dict[str, torch.Tensor]:
        answer["urls"].append(url)
        if "error" in answer:
            raise answer["error"]
        assert options["check_hash"]
        return answer["model"].state_dict()

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", load)
    yield answer


def made_up(model: str) -> torch.nn.Module:
    """A model of torchvision's whose statistics and weights are not those of a fresh one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        body = torchvision.models.get_model(model, weights=None).eval()
        for buffer in body.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)
    return body


def images(size: int) -> torch.Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("model", ["resnet18", "shufflenet_v2_x0_5", "mobilenet_v2", "densenet121"])
def test_logits_are_those_of_torchvision(model: str, spec: Spec, hub: dict[str, Any]) -> None:
    hub["model"] = body = made_up(model)
    data = spec(3, 96, 96, classes=1000)
    state = torch.get_rng_state()
    weights = pretrained_weights(f"torchvision:{model}", data)
    assert torch.equal(state, torch.get_rng_state())
    network = build(f"torchvision:{model}", data)
    assert list(weights) == list(network.module().state_dict())
    with torch.no_grad():
        torch.testing.assert_close(network(weights, images(96), train=False), body(images(96)))
    assert len(hub["urls"]) == 1


def test_classes_choose_rows(spec: Spec, hub: dict[str, Any]) -> None:
    hub["model"] = body = made_up("shufflenet_v2_x0_5")
    data, chosen = spec(3, 64, 64, classes=3), [999, 0, 217]
    network = build("torchvision:shufflenet_v2_x0_5", data)
    weights = pretrained_weights("torchvision:shufflenet_v2_x0_5", data, "IMAGENET1K_V1", chosen)
    with torch.no_grad():
        said, expected = network(weights, images(64), train=False), body(images(64))[:, chosen]
    torch.testing.assert_close(said, expected)


def test_a_resnet_for_small_images_takes_them_with_its_own_stem(spec: Spec, hub: dict[str, Any]) -> None:
    hub["model"] = made_up("resnet18")
    pretrained_weights("torchvision:resnet18:stem=standard", spec(3, 64, 64, classes=1000), "IMAGENET1K_V1")
    with pytest.raises(InputError, match="need the stem that they were trained with"):
        pretrained_weights("torchvision:resnet18", spec(3, 64, 64, classes=1000))


def test_nothing_is_downloaded_for_what_cannot_fit(spec: Spec, hub: dict[str, Any]) -> None:
    large = spec(3, 224, 224, classes=1000)
    one = Whitening(torch.eye(4), torch.ones(4), torch.zeros(4))
    white = replace(large, normalization=Normalization((0.0,) * 3, (1.0,) * 3, "zca", one))
    for name, data, classes, message in (
        ("resnet18", large, None, "for torchvision's models only, not for 'resnet18'"),
        ("torchvision:resnet5", large, None, "unknown torchvision model 'resnet5'"),
        ("torchvision:resnet18", spec(3, 224, 224), None, "know 1000 classes, the data have 10; say by classes="),
        ("torchvision:resnet18", spec(3, 224, 224), range(9), "classes= must name 10 different classes from 0 to 999"),
        ("torchvision:resnet18", spec(3, 224, 224), range(991, 1001), "classes= must name 10 different classes"),
        ("torchvision:resnet18", spec(3, 224, 224), [0] * 10, "classes= must name 10 different classes"),
        ("torchvision:resnet18", spec(1, 224, 224, 1000), None, "need images with 3 channels, not 1"),
        ("torchvision:resnet18", white, None, "images normalized by channel, and these are whitened"),
        ("torchvision:googlenet", large, None, "normalization of the model's own"),
        ("torchvision:vit_b_16", spec(3, 64, 64, 1000), None, "need images of 224 x 224 pixels, not 64 x 64"),
        ("torchvision:vit_b_16:norm=batch", large, None, "trained with the model's own norm"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            pretrained_weights(name, data, classes=classes)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="unknown weights of torchvision's 'resnet18' 'V9'"):
        pretrained_weights("torchvision:resnet18", large, "V9")
    with pytest.raises(InputError, match="weights 'IMAGENET1K_FEATURES' of 'vgg16' have no classifier"):
        pretrained_weights("torchvision:vgg16", large, "IMAGENET1K_FEATURES")
    assert hub["urls"] == []


@pytest.mark.parametrize(
    "error", [OSError("no route to host"), RuntimeError("invalid hash value (expected 'a', got 'b')")]
)
def test_a_download_that_fails(error: Exception, spec: Spec, hub: dict[str, Any]) -> None:
    hub["error"] = error
    with pytest.raises(
        InputError, match=r"could not be downloaded from https://.*\(.*\); fetch them elsewhere"
    ) as caught:
        pretrained_weights("torchvision:shufflenet_v2_x0_5", spec(3, 64, 64, classes=1000))
    assert str(error) in str(caught.value)


def test_weights_that_are_not_those_of_the_model(spec: Spec, hub: dict[str, Any]) -> None:
    hub["model"] = made_up("mobilenet_v2")
    with pytest.raises(InputError, match="could not be downloaded"):
        pretrained_weights("torchvision:shufflenet_v2_x0_5", spec(3, 64, 64, classes=1000))


def test_categories() -> None:
    found = torchvision_categories("torchvision:resnet18:stem=standard")
    assert len(found) == 1000 and found[0] == "tench" and found[217] == "English springer"
    assert torchvision_categories("torchvision:resnet50", "IMAGENET1K_V1") == found
    with pytest.raises(InputError, match="unknown weights"):
        torchvision_categories("torchvision:resnet18", "IMAGENET1K_V3")
    with pytest.raises(InputError, match="torchvision's models only"):
        torchvision_categories("convnet3")
