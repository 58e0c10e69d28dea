from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec, Normalization
from limbeck.core.sound import Sound
from limbeck.data import Data
from limbeck.formats.export import export
from limbeck.methods.idc import idc
from limbeck.methods.random import random
from limbeck.ops.sound import log_spectrograms
from tests.data.makers import tone

NAMES = ("a/b", "..", "zebra", "", "ünïcode é", "con:*?\\", ".hidden", "apple" * 80, "a b", "-rf")


def distilled(channels: int = 3, names: tuple[str, ...] = NAMES, ipc: int = 2, factor: int = 1) -> Distilled:
    spec = DataSpec(
        name="odd",
        channels=channels,
        height=4,
        width=6,
        class_names=names,
        normalization=Normalization((0.25,) * channels, (0.5,) * channels),
        digest="0" * 32,
    )
    levels = torch.randint(256, (len(names), ipc, channels, 4, 6), generator=torch.Generator().manual_seed(0))
    recipe = idc("digits", factor=factor) if factor > 1 else random()
    return Distilled(levels / 255, spec, recipe, seed=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_folder_is_read_back_by_torchvision(channels: int, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder
    from torchvision.transforms.functional import pil_to_tensor

    made = distilled(channels)
    assert export(made, "imagefolder", tmp_path / "out") == tmp_path / "out"
    read = ImageFolder(str(tmp_path / "out" / "train"))
    images, labels = made.decoded()
    assert read.targets == labels.tolist()
    for (image, label), pixels, expected in zip(read, images, labels, strict=True):
        assert torch.equal(pil_to_tensor(image)[:channels], (pixels * 255).round().to(torch.uint8))
        assert label == expected
    named = json.loads((tmp_path / "out" / "classes.json").read_text(encoding="utf-8"))
    assert [named[folder] for folder in read.classes] == list(NAMES)


def test_nothing_is_written_outside_the_folder(tmp_path: Path) -> None:
    export(distilled(), "imagefolder", tmp_path / "deep" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]
    folders = sorted(path for path in (tmp_path / "deep" / "out" / "train").iterdir())
    assert len(folders) == len(NAMES)
    assert all(path.is_dir() and not any(child.is_dir() for child in path.iterdir()) for path in folders)
    assert all(len(path.name.encode()) < 255 for path in folders)


def test_more_than_a_thousand_classes_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import ImageFolder

    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # a second instead of ten
    made = distilled(1, tuple(f"class {index}" for index in range(1002)), ipc=1)
    export(made, "imagefolder", tmp_path / "out")
    assert ImageFolder(str(tmp_path / "out" / "train")).targets == list(range(1002))


def test_values_outside_the_range_are_clamped(tmp_path: Path) -> None:
    from PIL import Image

    made = distilled(1, ("only",), ipc=1)
    made = replace(made, stored=torch.tensor([-1.0, 2.0, 0.5]).repeat(8).view(1, 1, 1, 4, 6))
    export(made, "imagefolder", tmp_path / "out")
    (file,) = (tmp_path / "out" / "train").rglob("*.png")
    assert np.asarray(Image.open(file)).ravel()[:3].tolist() == [0, 255, 128]


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_an_npz_file_holds_everything_without_pickles(channels: int, tmp_path: Path) -> None:
    made = distilled(channels)
    written = export(made, "npz", str(tmp_path / "set"))
    assert written == tmp_path / "set.npz"
    with np.load(written, allow_pickle=False) as file:
        images, labels = made.decoded()
        assert file["images"].dtype == np.float32
        assert np.array_equal(file["images"], images.numpy())
        assert file["labels"].dtype == np.int64
        assert np.array_equal(file["labels"], labels.numpy())
        assert file["class_names"].tolist() == list(NAMES)
        assert file["mean"].tolist() == [0.25] * channels
        assert file["std"].tolist() == [0.5] * channels


def test_an_ending_is_kept(tmp_path: Path) -> None:
    assert export(distilled(), "npz", tmp_path / "a.npz") == tmp_path / "a.npz"
    assert export(distilled(), "npz", tmp_path / "v1.5") == tmp_path / "v1.5.npz"


def test_stored_images_may_hold_several(tmp_path: Path) -> None:
    made = distilled(3, ("a", "b"), ipc=2, factor=2)
    decoded = np.load(export(made, "npz", tmp_path / "decoded"))
    stored = np.load(export(made, "npz", tmp_path / "stored", decoded=False))
    assert decoded["images"].shape == (16, 3, 4, 6)
    assert decoded["labels"].tolist() == [0] * 8 + [1] * 8
    assert np.array_equal(stored["images"], made.stored.flatten(0, 1).numpy())
    assert stored["labels"].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("decoded", [True, False])
def test_normalized_images_are_written_in_0_to_1(decoded: bool, tmp_path: Path) -> None:
    made = distilled()
    other = replace(
        made,
        stored=made.spec.normalization.apply(made.stored),
        recipe=made.recipe.with_(parametrization__space="normalized"),
    )
    file = np.load(export(other, "npz", tmp_path / "set", decoded=decoded))
    assert np.allclose(file["images"], made.stored.flatten(0, 1).numpy(), atol=1e-6)


@pytest.mark.parametrize("to", ["imagefolder", "npz"])
def test_nothing_is_overwritten(to: str, tmp_path: Path) -> None:
    target = tmp_path / ("out" if to == "imagefolder" else "out.npz")
    if to == "imagefolder":
        target.mkdir()
        (target / "mine.txt").write_text("mine")
    else:
        target.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        export(distilled(), to, target)  # type: ignore[arg-type]
    assert (target / "mine.txt" if target.is_dir() else target).read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_an_image_folder_does_not_replace_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        export(distilled(), "imagefolder", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export(distilled(), "imagefolder", tmp_path / "out")
    assert (tmp_path / "out" / "classes.json").is_file()


def test_two_channels_are_no_picture(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="export to npz instead"):
        export(distilled(2), "imagefolder", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown form 'npy'; did you mean 'npz'"):
        export(distilled(), "npy", tmp_path / "out")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle, "dump", None)
    monkeypatch.setattr(pickle, "dumps", None)
    export(distilled(), "npz", tmp_path / "set")


def sounding(factor: int = 1) -> Distilled:
    """Three classes of tones, two clips each; with factor 2, two stored spectrograms of two clips."""
    sound = Sound()
    pitches = torch.stack([tone(600.0 * (1 + number // 2)) for number in range(6)]).float()
    logarithms = log_spectrograms(pitches, sound, (64, 64))
    sound = replace(sound, low=float(logarithms.min()), high=float(logarithms.max()))
    spec = DataSpec("tones", 1, 64, 64, ("low", "a/b", "high"), Normalization((0.2,), (0.5,)), "0" * 32, sound)
    recipe = idc("mini-speech-commands") if factor > 1 else random()
    return Distilled(sound.to_unit(logarithms).view(3, 2, 1, 64, 64), spec, recipe, seed=0)


def test_every_clip_is_a_recording_of_its_class(tmp_path: Path) -> None:
    made = sounding()
    assert export(made, "wav", tmp_path / "out") == tmp_path / "out"
    files = sorted((tmp_path / "out" / "train").rglob("*.wav"))
    assert [file.relative_to(tmp_path / "out" / "train").as_posix() for file in files] == [
        f"{folder}/{number}.wav"
        for folder, numbers in (("000_low", "01"), ("001_a_b", "23"), ("002_high", "45"))
        for number in numbers
    ]
    for number, file in enumerate(files):
        samples, rate = soundfile.read(file, dtype="float32")
        assert rate == 16_000 and len(samples) == 16_000 and abs(samples).max() == pytest.approx(0.9, abs=1e-3)
        peak = np.abs(np.fft.rfft(samples)).argmax()
        assert abs(peak - 600 * (1 + number // 2)) < 63  # one frequency of the spectrogram
    named = json.loads((tmp_path / "out" / "classes.json").read_text(encoding="utf-8"))
    assert list(named.values()) == ["low", "a/b", "high"]


def test_equal_sets_are_equal_recordings_and_packed_ones_are_decoded(tmp_path: Path) -> None:
    made = sounding(factor=2)
    for name in ("one", "two"):
        export(made, "wav", tmp_path / name)
    one, two = (sorted((tmp_path / name).rglob("*.wav")) for name in ("one", "two"))
    assert len(one) == 12 and [file.read_bytes() for file in one] == [file.read_bytes() for file in two]


def test_what_cannot_be_heard_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds pictures, which cannot be heard"):
        export(distilled(1), "wav", tmp_path / "out")
    with pytest.raises(InputError, match="leave --no-decoded out for wav"):
        export(sounding(), "wav", tmp_path / "out", decoded=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_jpeg_folder_is_that_of_sre2l(channels: int, tmp_path: Path) -> None:
    from PIL import Image
    from torchvision.datasets import ImageFolder

    made = distilled(channels, tuple(f"class {index}" for index in range(12)))
    export(made, "imagefolder", tmp_path / "out", jpeg=75)
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir())[::11] == ["new000", "new011"]
    assert {path.name for path in (tmp_path / "out" / "new003").iterdir()} == {
        *("class003_id000.jpg", "class003_id001.jpg"),
    }
    read = ImageFolder(str(tmp_path / "out"))
    images, labels = made.decoded()
    assert read.targets == labels.tolist()
    named = json.loads((tmp_path / "out" / "classes.json").read_text(encoding="utf-8"))
    assert [named[folder] for folder in read.classes] == list(made.spec.class_names)
    with Image.open(tmp_path / "out" / "new003" / "class003_id001.jpg") as picture:
        assert picture.format == "JPEG" and picture.mode == ("L" if channels == 1 else "RGB")
        seen = np.asarray(picture, dtype=float).reshape(4, 6, channels)
    expected = 255 * images[7].permute(1, 2, 0).numpy()
    # Random pixels are the worst that JPEG can be given; the mean of an image survives.
    assert abs(seen.mean() - expected.mean()) < 12 and not np.array_equal(seen, expected.round())


def test_many_classes_and_images_of_a_jpeg_folder_sort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import ImageFolder

    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    made = distilled(1, tuple(f"class {index}" for index in range(1002)), ipc=1)
    export(made, "imagefolder", tmp_path / "out", jpeg=90)
    assert (tmp_path / "out" / "new1001" / "class1001_id000.jpg").is_file()
    assert ImageFolder(str(tmp_path / "out")).targets == list(range(1002))


@pytest.mark.parametrize(("to", "jpeg"), [("npz", 75), ("wav", 75), ("imagefolder", 0), ("imagefolder", 101)])
def test_a_jpeg_quality_that_cannot_be_is_refused(to: str, jpeg: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="quality of 1 to 100 and are for the form imagefolder"):
        export(distilled(), to, tmp_path / "out", jpeg=jpeg)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("decoded", [True, False])
def test_whitened_images_are_taken_back(decoded: bool, whitened: Data, tmp_path: Path) -> None:
    stream = torch.Generator().manual_seed(0)
    shown = torch.rand(10, 2, 1, 8, 8, generator=stream) * 1.4 - 0.2
    stored = whitened.spec.normalization.apply(shown)
    made = Distilled(stored, whitened.spec, random().with_(parametrization__space="normalized"), seed=0)
    file = np.load(export(made, "npz", tmp_path / "set", decoded=decoded), allow_pickle=False)
    expected = whitened.spec.normalization.invert(stored).flatten(0, 1).numpy()
    np.testing.assert_allclose(file["images"], expected, rtol=0, atol=1e-6)  # class by class sums are rounded otherwise
    assert np.allclose(file["images"], shown.flatten(0, 1).numpy(), atol=1e-5)
    rows = file["images"].reshape(20, -1)
    seen = (rows - file["whitening_mean"]) @ file["whitening"]
    assert np.allclose(seen, stored.reshape(20, -1).numpy(), atol=1e-5)
    assert np.allclose(seen @ file["whitening_inverse"] + file["whitening_mean"], rows, atol=1e-5)
    assert file["mean"].tolist() == [0.0] and file["std"].tolist() == [1.0]
    export(made, "imagefolder", tmp_path / "pictures", decoded=decoded)
    pictures = sorted((tmp_path / "pictures").rglob("*.png"))
    for path, image in zip(pictures, shown.flatten(0, 1), strict=True):
        expected = (image[0].clamp(0, 1) * 255).round().numpy()
        assert abs(np.asarray(Image.open(path)).astype(int) - expected).max() <= 1
    assert len(list((tmp_path / "pictures").rglob("*.png"))) == 20
    export(made, "imagefolder", tmp_path / "lossy", decoded=decoded, jpeg=100)
    first = np.asarray(Image.open(tmp_path / "lossy" / "new000" / "class000_id000.jpg")).astype(int)
    assert abs(first - (shown[0, 0, 0].clamp(0, 1) * 255).numpy()).max() < 12


def carrying(factor: int = 1) -> Distilled:
    made = distilled(3, ("a", "b"), ipc=2, factor=factor)
    chances = torch.rand(2, 2 * factor**2, 2, generator=torch.Generator().manual_seed(1)).softmax(-1)
    return replace(made, learnt={"student_lr": torch.tensor(0.0123, dtype=torch.float64), "labels": chances})


def test_an_npz_file_holds_what_was_learnt_beside_the_pixels(tmp_path: Path) -> None:
    made = carrying(factor=2)
    for decoded in (True, False):
        with np.load(export(made, "npz", tmp_path / f"{decoded}", decoded=decoded), allow_pickle=False) as file:
            assert float(file["student_lr"]) == 0.0123
            assert made.soft_labels is not None and np.array_equal(file["labels_soft"], made.soft_labels.numpy())
    with np.load(export(distilled(), "npz", tmp_path / "plain"), allow_pickle=False) as file:
        assert not {"student_lr", "labels_soft"} & set(file.files)


@pytest.mark.parametrize("jpeg", [None, 90])
def test_folders_say_what_was_learnt_beside_the_pixels(jpeg: int | None, tmp_path: Path) -> None:
    made = carrying()
    export(made, "imagefolder", tmp_path / "out", jpeg=jpeg)
    said = json.loads((tmp_path / "out" / "learnt.json").read_text(encoding="utf-8"))
    assert said["student_lr"] == 0.0123
    files = list(said["labels_soft"])
    assert len(files) == 4 and all((tmp_path / "out" / file).is_file() for file in files)
    assert [Path(file).parent.name[-1] for file in files] == (["a", "a", "b", "b"] if jpeg is None else list("0011"))
    assert made.soft_labels is not None and torch.equal(
        torch.tensor(list(said["labels_soft"].values())), made.soft_labels
    )
    export(carrying(factor=2), "imagefolder", tmp_path / "stored", decoded=False, jpeg=jpeg)
    assert json.loads((tmp_path / "stored" / "learnt.json").read_text(encoding="utf-8")) == {"student_lr": 0.0123}
    export(distilled(), "imagefolder", tmp_path / "plain", jpeg=jpeg)
    assert not (tmp_path / "plain" / "learnt.json").exists()
