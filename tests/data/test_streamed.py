from __future__ import annotations

import io
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import torch
from PIL import Image

import limbeck as lb
from benchmarks.memory.made_up import write_jpegs
from limbeck.core.errors import InputError
from limbeck.core.real import RealSet
from limbeck.core.recipe import Recipe
from limbeck.core.streams import Streams
from limbeck.data import ImageSet, StreamedSet, check_ipc, load
from limbeck.data import loading as loading_module
from limbeck.data import streamed as module
from limbeck.evaluation.diversity import DiversityProtocol, diversity, refer
from limbeck.evaluation.evaluate import evaluate
from limbeck.evaluation.protocols import Protocol
from limbeck.methods.dm import dm
from limbeck.methods.random import random
from tests.data.makers import encode, plane, shared, write_classes, write_parquet, write_picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """4 classes of 12 JPEGs of two sizes, one of them gray; ``val`` beside them."""
    root = tmp_path / "pets"
    write_jpegs(root / "train", 4, 12, (20, 24))
    write_jpegs(root / "train", 4, 5, (31, 18), seed=1)
    write_jpegs(root / "val", 4, 3, (22, 22), seed=2)
    gray = sorted((root / "train" / "n00000002").iterdir())[7]
    with Image.open(gray) as picture:
        picture.convert("L").save(gray, "JPEG")
    return root


@pytest.fixture
def streamed(folder: Path) -> StreamedSet:
    data = load(folder, stream="on", image_size=16, channels="rgb", workers=2)
    assert isinstance(data.train, StreamedSet)
    return data.train


def assert_same(ours: RealSet | None, theirs: RealSet | None) -> None:
    assert isinstance(ours, StreamedSet) and isinstance(theirs, ImageSet) and len(ours) == len(theirs)
    assert torch.equal(ours.labels, theirs.labels) and ours.class_counts() == theirs.class_counts()
    rows = torch.randperm(len(ours), generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours.stored(rows), theirs.stored(rows))
    assert torch.equal(ours.images(rows[:4].view(2, 2)), theirs.images(rows[:4].view(2, 2)))
    for label in range(ours.spec.classes):
        assert torch.equal(ours.class_rows(label), theirs.class_rows(label))


@pytest.mark.parametrize("fit", ["crop", "resize"])
@pytest.mark.parametrize("channels", ["gray", "rgb"])
@pytest.mark.parametrize("workers", [1, 4])
def test_a_folder_is_what_it_is_in_memory(folder: Path, fit: Any, channels: Any, workers: int) -> None:
    options: dict[str, Any] = {"image_size": (14, 16), "fit": fit, "channels": channels}
    ours, theirs = load(folder, stream="on", workers=workers, **options), load(folder, stream="off", **options)
    assert replace(ours.spec, digest="") == replace(theirs.spec, digest="") and ours.spec.digest != theirs.spec.digest
    for part in ("train", "validation", "test"):
        assert_same(getattr(ours, part), getattr(theirs, part))


def test_a_folder_without_parts_is_split_alike(folder: Path) -> None:
    options: dict[str, Any] = {"image_size": 8, "channels": "rgb", "test_fraction": 0.3, "split_seed": 5}
    ours, theirs = (load(folder / "train", stream=stream, **options) for stream in ("on", "off"))
    for part in ("train", "validation", "test"):
        assert_same(getattr(ours, part), getattr(theirs, part))


@pytest.mark.parametrize("workers", [1, 3])
def test_parquet_with_row_groups_is_what_it_is_in_memory(tmp_path: Path, workers: int) -> None:
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog", "owl"]}}
    for name, count, start in (("train-0", 40, 0), ("train-1", 25, 40), ("test-0", 9, 90)):
        pictures: list[Any] = [encode(plane(start + number)) for number in range(count)]
        file = tmp_path / f"{name}.parquet"
        write_parquet(file, pictures, [number % 3 for number in range(count)], features=features)
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(file), file, row_group_size=11)
    ours, theirs = load(tmp_path, stream="on", workers=workers), load(tmp_path, stream="off")
    assert replace(ours.spec, digest="") == replace(theirs.spec, digest="")
    for part in ("train", "validation", "test"):
        assert_same(getattr(ours, part), getattr(theirs, part))
    some, same = (load(tmp_path, stream=stream, classes=("owl", "cat")) for stream in ("on", "off"))
    assert some.spec.class_names == ("cat", "owl") and replace(some.spec, digest="") == replace(same.spec, digest="")
    assert_same(some.train, same.train)
    assert_same(some.test, same.test)


@pytest.mark.parametrize("name", ["cifar10-jpeg", "fashion-mnist"])
def test_real_data_are_what_their_files_hold(name: str) -> None:
    source = shared(name)
    data = load(source, stream="on", validation=0, normalization="idc", cache=False)
    assert isinstance(data.train, StreamedSet) and len(data.train) in (50_000, 60_000)
    rows = [3, 30_000, 3, len(data.train) - 1]
    table = pyarrow.parquet.read_table(sorted(source.rglob("train-*.parquet")), columns=["image", "label"])
    for row, image in zip(rows, data.train.stored(rows), strict=True):
        with Image.open(io.BytesIO(table.column("image")[row].as_py()["bytes"])) as picture:
            expected = data.train._listed.framing.picture(picture)
        assert torch.equal(image, torch.from_numpy(expected.copy()))
        assert int(data.train.labels[row]) == table.column("label")[row].as_py()


def test_rows_of_any_shape_and_repeats(streamed: StreamedSet, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    one = module.decode_picture
    monkeypatch.setattr(module, "decode_picture", lambda *given: (decoded.append(1), one(*given))[1])
    rows = torch.tensor([[5, 1, 5], [1, 5, 5]], dtype=torch.int32)
    images = streamed.images(rows)
    assert images.shape == (2, 3, 3, 16, 16) and len(decoded) == 2, "a repeated row is decoded once"
    assert torch.equal(images[0, 0], images[1, 2]) and not torch.equal(images[0, 0], images[0, 1])
    assert streamed.images([]).shape == (0, 3, 16, 16) and streamed.images(7).shape == (3, 16, 16)
    with pytest.raises(TypeError, match="rows must be integers"):
        streamed.images(torch.ones(3, dtype=torch.bool))
    for wrong in (-1, len(streamed)):
        with pytest.raises(IndexError, match=f"row {wrong} lies outside a set of"):
            streamed.images([0, wrong])
    with pytest.raises(IndexError, match=r"label 4 lies outside 0\.\.3"):
        streamed.class_rows(4)


def test_a_set_is_a_data_set_of_pytorch(streamed: StreamedSet) -> None:
    image, label = streamed[-1]
    assert torch.equal(image, streamed.images([len(streamed) - 1])[0]) and label == 3
    assert [label for _, label in streamed] == streamed.labels.tolist()
    loader = torch.utils.data.DataLoader(streamed, batch_size=7)
    assert torch.equal(torch.cat([images for images, _ in loader]), streamed.images(range(len(streamed))))
    with pytest.raises(IndexError):
        streamed[len(streamed)]
    assert repr(streamed) == f"StreamedSet('pets', {len(streamed)} images 3x16x16, 4 classes)"


def test_parts_copies_and_number_formats(streamed: StreamedSet) -> None:
    double = streamed.to("cpu", torch.float64)
    assert double.dtype == torch.float64 and streamed.dtype == torch.float32 and double.device.type == "cpu"
    assert torch.equal(double.images([3]), streamed.stored([3]).double() / 255)
    part = double.subset([6, 2, 40])
    assert torch.equal(part.images([1, 2]), double.images([2, 40])) and len(part) == 3 and part.dtype == torch.float64
    assert part.labels.tolist() == double.labels[[6, 2, 40]].tolist() and part.spec is streamed.spec
    assert part.class_rows(0).tolist() == [0, 1] and len(double) == len(streamed)
    again = pickle.loads(pickle.dumps(part))
    assert torch.equal(again.stored([2]), part.stored([2]))
    check_ipc(streamed, 10)
    with pytest.raises(InputError, match=r"images cannot be torch\.int32"):
        streamed.to("cpu", torch.int32)
    with pytest.raises(InputError, match=r"streamed, so their pixels are never .* stream off \(--stream off\)"):
        streamed.pixels  # noqa: B018
    with pytest.raises(InputError, match="do not fit a spec of shape"):
        StreamedSet(streamed._listed, replace(streamed.spec, height=3))
    with pytest.raises(InputError, match="label 3"):
        StreamedSet(streamed._listed, replace(streamed.spec, class_names=("a",)))


@pytest.mark.parametrize("workers", [1, 4])
def test_the_first_broken_picture_is_named(streamed: StreamedSet, workers: int) -> None:
    names = streamed._listed.pictures.names  # type: ignore[attr-defined]
    rows = streamed._listed.rows.tolist()
    for place in (9, 21, 30):
        (streamed._listed.pictures.root / names[rows[place]]).write_bytes(b"oh")  # type: ignore[attr-defined]
    broken = StreamedSet(streamed._listed, streamed.spec, workers)
    with pytest.raises(InputError, match=f"cannot read image '{names[rows[9]]}' of 'pets': it is no picture"):
        broken.images(torch.arange(40).flip(0))
    assert len(broken.images([8, 10])) == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"channels": "rgb"},
            r"is 31x18 \(height x width\) but the first image 20x24; set image_size \(--image-size\)",
        ),
        ({"image_size": 8}, r"has 1 channel but the first image 3; set channels \(--channels\) to rgb or gray"),
    ],
)
def test_pictures_of_other_shapes_are_named(tmp_path: Path, options: dict[str, Any], sentence: str) -> None:
    write_picture(tmp_path / "train" / "a" / "0.png", plane(0, (20, 24, 3)))
    write_picture(tmp_path / "train" / "a" / "1.png", plane(0, (31, 18, 3)))
    write_picture(tmp_path / "train" / "a" / "2.png", plane(0, (20, 24)))
    with pytest.raises(InputError, match=f"image 'train/a/.*' of '.*' {sentence}"):
        load(tmp_path, stream="on", **options)


def test_auto_streams_what_would_be_large(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = 3 * 16 * 16 * (4 * 12 + 4 * 3)
    kinds = []
    for limit in (needed, needed - 1):
        monkeypatch.setattr(loading_module, "STREAM_FROM", limit)
        kinds.append(type(load(folder, image_size=16, channels="rgb").train))
    assert kinds == [ImageSet, StreamedSet]
    assert isinstance(load(folder, image_size=16, channels="rgb", stream="off").train, ImageSet)


def test_auto_opens_one_file_and_leaves_errors_to_what_follows(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"a": 3})
    (tmp_path / "train" / "a" / "000.png").write_text("oh")
    with pytest.raises(InputError, match=r"cannot read image 'train/a/000\.png'"):
        load(tmp_path)


def test_the_digest_is_of_names_sizes_and_labels(folder: Path, tmp_path: Path) -> None:
    def digest(**options: Any) -> str:
        return load(
            folder, stream="on", **{"image_size": 16, "channels": "rgb", "validation": 0, **options}
        ).spec.digest

    before = digest()
    files = sorted((folder / "train").rglob("*.JPEG"))
    for file in files:
        os.utime(file, (1, 1))
    assert digest() == before == digest(workers=1)
    others = {digest(fit="resize"), digest(channels="gray"), digest(image_size=15), digest(validation=0.5)}
    assert len(others | {before}) == 5
    with files[5].open("ab") as file:
        file.write(b"\0")
    assert digest() != before


def test_the_normalization_is_measured_on_a_stated_sample(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"image_size": 16, "channels": "rgb"}
    whole = load(folder, stream="off", **options)
    monkeypatch.setattr(module, "SAMPLE", 10)
    data = load(folder, stream="on", **options)
    assert data.spec.normalization == load(folder, stream="on", workers=1, **options).spec.normalization
    count = len(data.train)
    rows = Streams(0)("normalization sample", count).permutation(count)[:10]
    values = whole.train.images(rows).double().transpose(0, 1).flatten(1)
    assert data.spec.normalization.mean == pytest.approx(values.mean(1).tolist(), rel=1e-6)
    assert data.spec.normalization.std == pytest.approx(values.std(1, correction=0).tolist(), rel=1e-6)


def test_published_constants_need_no_image(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "sample_blocks", lambda *_: pytest.fail("no image is needed"))
    root = folder.rename(folder.parent / "imagenet")
    data = load(root, stream="on", normalization="published", image_size=8, channels="rgb")
    assert data.spec.normalization.mean == (0.485, 0.456, 0.406)
    with pytest.raises(InputError, match="has 3 channels but the images have 1"):
        load(root, stream="on", normalization="published", image_size=8, channels="gray")


@pytest.mark.parametrize("name", ["random", "dm"])
def test_distilling_gives_the_bytes_of_images_in_memory(folder: Path, name: str) -> None:
    recipes: dict[str, Recipe] = {
        "random": random(),
        "dm": dm("small").with_(curriculum__iterations=2, sampler__batch_size=6),
    }
    options: dict[str, Any] = {"image_size": 16, "channels": "rgb"}
    stored = [
        lb.distill(recipes[name], load(folder, stream=stream, **options), ipc=2, seed=1).stored
        for stream in ("on", "off")
    ]
    assert torch.equal(*stored)


def test_judging_and_measuring_take_streamed_images(folder: Path) -> None:
    protocol = Protocol(name="tiny", networks=("mlp",), repeats=1, budget="updates", length=5)
    reached, spread = [], []
    for stream in ("on", "off"):
        data = load(folder, stream=stream, image_size=16, channels="rgb")
        made = lb.distill(random(), data, ipc=2)
        reached.append(evaluate(made, data.require_test(), protocol, validation=data.validation).mean)
        measured = DiversityProtocol(network="convnet1:width=4", epochs=1, projection="none")
        spread.append(diversity(made, refer(data.train, measured)).classes)
    assert reached[0] == reached[1] and spread[0] == spread[1]
