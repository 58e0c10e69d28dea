"""Fixtures that several rooms share: real digits in small portions, and runs in float64."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

import limbeck as lb
from limbeck import networks
from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.streams import Streams
from limbeck.data.images import ImageSet
from limbeck.data.splits import Data

TINY = "convnet1:width=4"

# A package of its own, whose tests run where it is installed (tests/battery/test_plugin.py).
collect_ignore = ["plugin"]

# Sums are split by thread: runs are compared to the bit with others that use one.
torch.set_num_threads(1)

# A job in the background of a shell starts with Ctrl-C ignored; what Ctrl-C does is tested all the same.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is kept in the home of whoever runs the tests, nor found there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMBECK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def digits() -> Data:
    """The bundled digits, whole; 8 x 8, one channel, 10 classes."""
    return lb.data.load("digits")


@pytest.fixture(scope="session")
def whitened() -> Data:
    """The same, seen whitened."""
    return lb.data.load("digits", normalization="zca")


@pytest.fixture(scope="session")
def portion(digits: Data) -> Callable[..., ImageSet]:
    """Builds a set of the first digits of the first classes: ``portion(classes, each)``.

    ``each`` is the number of images of every class, or one number per class.
    """

    def make(classes: int = 3, each: int | Sequence[int] = 12, channels: int = 1) -> ImageSet:
        sizes = [each] * classes if isinstance(each, int) else list(each)
        rows = torch.cat([digits.train.class_rows(label)[:size] for label, size in enumerate(sizes)])
        # Classes are interleaved, so that rows and positions within a class differ.
        rows = rows[Streams(0)("portion").permutation(len(rows))]
        mean, std = digits.spec.normalization.mean, digits.spec.normalization.std
        spec = replace(
            digits.spec,
            channels=channels,
            class_names=digits.spec.class_names[:classes],
            normalization=replace(digits.spec.normalization, mean=mean * channels, std=std * channels),
        )
        pixels = digits.train.pixels[rows].expand(-1, channels, -1, -1)
        return ImageSet(pixels, digits.train.labels[rows], spec)

    return make


@pytest.fixture(scope="session")
def context_of(portion: Callable[..., ImageSet]) -> Callable[..., Context]:
    """Builds the surroundings of a run, on a portion of the digits and in float64 unless told otherwise."""

    def make(data: ImageSet | None = None, ipc: int = 2, seed: int = 0, **changes: Any) -> Context:
        dtype = changes.pop("dtype", torch.float64)
        data = (data or portion()).to(torch.device("cpu"), dtype)
        return Context(data=data, ipc=ipc, streams=Streams(seed), build=networks.build, dtype=dtype, **changes)

    return make


@pytest.fixture(scope="session")
def view_of() -> Callable[..., View]:
    """Builds a fresh network of a context: ``view_of(context, name)``."""

    def make(context: Context, name: str = TINY, key: int = 0) -> View:
        network = context.network(name)
        return View(network, network.initial(context.streams("test network", key)))

    return make
