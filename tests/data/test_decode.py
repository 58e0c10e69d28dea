from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from limbeck.core.errors import InputError
from limbeck.data import decode as module
from limbeck.data.decode import Encoded, decode
from limbeck.data.framing import Framing
from tests.data.makers import encode, plane


def encoded(blobs: list[bytes]) -> Encoded:
    return Encoded(count=len(blobs), read=blobs.__getitem__, describe=lambda row: f"picture {row}", where="pets")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3)])
def test_lossless_kinds_are_exact(kind: str, shape: tuple[int, ...]) -> None:
    if kind == "WEBP" and len(shape) == 2:
        pytest.skip("WebP has no gray")
    arrays = [plane(i, shape) for i in range(3)]
    pixels = decode(
        encoded([encode(one, kind, **({"lossless": True} if kind == "WEBP" else {})) for one in arrays]),
        Framing(),
    )
    expected = np.stack(arrays)
    expected = expected[:, None] if len(shape) == 2 else expected.transpose(0, 3, 1, 2)
    assert np.array_equal(pixels.numpy(), expected) and pixels.is_contiguous()


def test_threads_give_the_same_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = [encode(plane(i, (12, 10))) for i in range(150)]
    alone = decode(encoded(blobs), Framing(image_size=7))
    used: set[str] = set()
    one = module._decode_one

    def watched(*arguments: Any) -> Any:
        used.add(threading.current_thread().name)
        return one(*arguments)

    monkeypatch.setattr(module, "_decode_one", watched)
    monkeypatch.setattr(module, "_workers", lambda _: 3)
    together = decode(encoded(blobs), Framing(image_size=7))
    assert np.array_equal(together.numpy(), alone.numpy())
    assert any(name.startswith("ThreadPool") for name in used)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_unreadable_picture_is_named(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_workers", lambda _: workers)
    good = encode(plane(0))
    for bad, cause in (
        (b"no picture", "it is no picture that Pillow knows"),
        (good[:-30], ""),
        (b"", "no picture"),
    ):
        with pytest.raises(InputError, match=f"cannot read picture 2: .*{cause}.*; repair or remove it") as caught:
            decode(encoded([good, good, bad, good]), Framing())
        assert "\n" not in str(caught.value) and " at 0x" not in str(caught.value)
    with pytest.raises(InputError, match="cannot read picture 0"):
        decode(encoded([b"x"]), Framing())


def test_16_bit_pictures_are_named() -> None:
    with pytest.raises(InputError, match=r"cannot read picture 1: its mode I;16 .*; convert the images to 8 bits$"):
        decode(encoded([encode(plane(0)), encode(np.zeros((4, 5), dtype=np.uint16))]), Framing())


@pytest.mark.parametrize("workers", [1, 2])
def test_mixed_sizes(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_workers", lambda _: workers)
    blobs = [encode(plane(0, size)) for size in ((4, 5), (6, 4), (4, 5))]
    with pytest.raises(
        InputError, match=r"'pets' have different sizes \(height x width\) \(4x5: 2, 6x4: 1\); set image_size"
    ):
        decode(encoded(blobs), Framing())
    assert decode(encoded(blobs), Framing(image_size=4)).shape == (3, 1, 4, 4)


def test_mixed_channels() -> None:
    blobs = [encode(plane(0, shape)) for shape in ((4, 5), (6, 4, 3), (4, 5, 3))]
    with pytest.raises(
        InputError,
        match=r"different numbers of channels \(3 channels: 2, 1 channel: 1\); set channels \(--channels\)",
    ):
        decode(encoded(blobs), Framing(image_size=4))
    assert decode(encoded(blobs), Framing(image_size=4, channels="rgb")).shape == (3, 3, 4, 4)


def test_large_pictures_get_threads_and_small_ones_none() -> None:
    if not hasattr(module.os, "sched_getaffinity") or len(module.os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    assert module._workers(encoded([encode(plane(0, (28, 28)))] * 9)) == 1
    assert module._workers(encoded([encode(plane(0, (224, 224)))] * 9)) > 1
