from __future__ import annotations

from pathlib import Path

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.core.real import Normalization
from limbeck.data import Data, from_arrays, load
from limbeck.data.whitening import LARGEST, check_size
from limbeck.data.whitening import whitened as whiten
from tests.data.makers import shared, write_classes

PIXELS = torch.randint(0, 256, (40, 3, 2, 2), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def fit(cache: Path | None = None, digest: str = "a" * 32) -> tuple[Normalization, list[str]]:
    said: list[str] = []
    return whiten(PIXELS, "toy", digest, cache, said.append), said


def test_it_is_fitted_to_the_training_part_alone(digits: Data, whitened: Data) -> None:
    assert whitened.spec.digest == digits.spec.digest
    found = whitened.spec.normalization
    assert (found.mean, found.std, found.source) == ((0.0,), (1.0,), "zca")
    rows = digits.train.images(torch.arange(len(digits.train))).double().flatten(1)
    values, vectors = torch.linalg.eigh(torch.cov(rows.T))
    matrix = (vectors * (values + 0.1) ** -0.5) @ vectors.T
    for part, seen_part in ((digits.train, whitened.train), (digits.require_test(), whitened.require_test())):
        shown = part.images(torch.arange(20)).double()
        expected = ((shown.flatten(1) - rows.mean(0)) @ matrix).view(shown.shape)
        torch.testing.assert_close(seen_part.spec.normalization.apply(shown), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found.invert(found.apply(shown)), shown, rtol=0, atol=1e-6)
    assert whitened.require_validation().spec.normalization == found


def test_another_split_is_another_fit(whitened: Data) -> None:
    other = load("digits", normalization="zca", split_seed=1)
    assert other.spec.normalization != whitened.spec.normalization
    assert whitened.spec.normalization.whitened_otherwise(other.spec.normalization).startswith("mean[")


def test_a_fit_is_said_and_kept(tmp_path: Path) -> None:
    first, said = fit(tmp_path)
    assert said == ["fitting ZCA whitening: covariance of 40 training images of 'toy', 12 values each"]
    again, silent = fit(tmp_path)
    assert again == first and silent == []
    assert len(list((tmp_path / "whitening").iterdir())) == 1
    assert fit(tmp_path, "b" * 32)[1] and len(list((tmp_path / "whitening").iterdir())) == 2
    assert fit(None) == (first, said)


@pytest.mark.parametrize("damage", [b"", b"x" * 100], ids=["empty", "noise"])
def test_a_damaged_fit_is_made_again(damage: bytes, tmp_path: Path) -> None:
    first, said = fit(tmp_path)
    (path,) = (tmp_path / "whitening").iterdir()
    path.write_bytes(damage)
    assert fit(tmp_path) == (first, said)
    path.write_bytes(path.read_bytes()[:-4] + b"\1\2\3\4")
    assert fit(tmp_path) == (first, said)


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "whitening").write_text("a file")
    with pytest.warns(UserWarning, match="the whitening could not be kept"):
        fit(tmp_path)


def test_it_is_said_on_standard_error_and_kept_where_decoded_data_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for said in (True, False):
        load("digits", normalization="zca", cache=tmp_path)
        captured = capsys.readouterr()
        assert captured.out == "" and captured.err.startswith("fitting ZCA whitening") == said
    load("digits", normalization="zca", cache=False)
    assert capsys.readouterr().err


def test_images_that_are_too_large_are_refused_with_their_memory() -> None:
    check_size((3, 64, 64), "toy")
    assert LARGEST == 3 * 64 * 64
    with pytest.raises(InputError, match=r"150528 values each.* about 906 GB of memory; set image_size"):
        check_size((3, 224, 224), "toy")
    with pytest.raises(InputError, match="12675 values"):
        from_arrays((torch.zeros(4, 3, 65, 65), [0, 0, 1, 1]), normalization="zca")


def test_streamed_images_are_refused(tmp_path: Path) -> None:
    write_classes(tmp_path / "many", {"a": 6, "b": 6})
    with pytest.raises(InputError, match="are streamed, and whitening needs all of them in memory; set stream"):
        load(tmp_path / "many", normalization="zca", stream="on")


def test_a_single_image_is_refused() -> None:
    with pytest.raises(InputError, match="single training image"):
        whiten(PIXELS[:1], "toy", "a", None)


def test_folders_and_arrays_are_whitened(tmp_path: Path) -> None:
    write_classes(tmp_path / "many", {"a": 8, "b": 8})
    found = load(tmp_path / "many", normalization="zca").spec.normalization.whitening
    assert found is not None and found.values == 20
    labels = torch.arange(40) % 2
    data = from_arrays((PIXELS, labels), validation=0, normalization="zca")
    assert data.spec.normalization.whitening == fit()[0].whitening
    with pytest.raises(InputError, match="unknown normalization 'pca'; known: measured, published, idc, zca"):
        from_arrays((PIXELS, labels), normalization="pca")  # type: ignore[arg-type]


def test_parquet_files_of_colour_pictures() -> None:
    data = load(shared("cifar10-jpeg"), image_size=8, normalization="zca")
    seen = data.spec.normalization.apply(data.train.images(torch.arange(2000)))
    assert data.spec.normalization.whitening is not None and data.spec.normalization.whitening.values == 192
    assert float(seen.mean().abs()) < 0.05 and 0.2 < float(seen.std()) < 1
