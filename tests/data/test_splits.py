from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.core.sound import Sound
from limbeck.core.streams import Streams
from limbeck.data import Data, ImageSet, Labelled, LabelledSplits, make
from limbeck.data.splits import carve_test
from tests.data.makers import labelled, splits

# Three classes of 25, 14 and 1 images, mixed; image i holds the value i.
LABELS = ([0, 1] * 14 + [0] * 11) + [2]


def values(part: ImageSet | None) -> list[int]:
    assert part is not None
    return part.pixels[:, 0, 0, 0].tolist()


def counts(part: ImageSet | None) -> list[int]:
    assert part is not None
    return part.class_counts()


@pytest.mark.parametrize(
    ("fraction", "held_out"),
    [(0.1, [3, 1, 0]), (0.01, [1, 1, 0]), (0.5, [13, 7, 0]), (0.99, [24, 13, 0])],
)
def test_the_split_is_stratified(fraction: float, held_out: list[int]) -> None:
    data = make(splits(LABELS, 3), validation=fraction)
    assert counts(data.validation) == held_out
    assert [a + b for a, b in zip(counts(data.train), held_out, strict=True)] == [25, 14, 1]
    assert sorted(values(data.train) + values(data.validation)) == list(range(len(LABELS)))


def test_both_parts_keep_data_set_order_and_their_labels() -> None:
    data = make(splits(LABELS, 3), validation=0.3)
    for part in (data.train, data.validation):
        assert part is not None
        assert values(part) == sorted(values(part))
        assert part.labels.tolist() == [LABELS[value] for value in values(part)]


def test_the_split_comes_from_keyed_streams() -> None:
    data = make(splits(LABELS, 3), validation=0.1, split_seed=7)
    expected = []
    for label, share in ((0, 3), (1, 1)):
        rows = torch.tensor([row for row, one in enumerate(LABELS) if one == label])
        chosen = Streams(7)("validation split", label).permutation(len(rows))[:share]
        expected += rows[chosen].tolist()
    assert values(data.validation) == sorted(expected)


def test_the_split_depends_on_its_seed_alone() -> None:
    state = torch.get_rng_state()
    first = make(splits(LABELS, 3), split_seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert values(make(splits(LABELS, 3), split_seed=1).validation) == values(first.validation)
    assert values(make(splits(LABELS, 3), split_seed=2).validation) != values(first.validation)


def test_no_validation() -> None:
    data = make(splits(LABELS, 3), validation=0)
    assert data.validation is None and len(data.train) == len(LABELS)
    assert make(splits([0, 1], 2), validation=0.5).validation is None
    with pytest.raises(InputError, match=r"'toy' has no validation split; set validation \(--validation\)"):
        data.require_validation()


def test_the_source_s_own_validation_images_are_kept() -> None:
    data = make(splits([0, 1, 0, 1], 2, validation=labelled([1], start=9)), validation=0.5)
    assert values(data.train) == [0, 1, 2, 3] and values(data.validation) == [9]
    assert data.require_validation() is data.validation


def test_require_test() -> None:
    data = make(splits([0, 1], 2, test=labelled([1, 0], start=5)))
    assert values(data.require_test()) == [5, 6]
    with pytest.raises(InputError, match="data set 'toy' has no test split; add test images"):
        make(splits([0, 1], 2)).require_test()


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_fractions_out_of_range(fraction: float) -> None:
    with pytest.raises(InputError, match=r"validation must lie in \[0, 1\)"):
        make(splits([0, 1], 2), validation=fraction)
    with pytest.raises(InputError, match=r"test_fraction \(--test-fraction\)"):
        carve_test(splits([0, 0], 1), fraction, 0)


def test_spec() -> None:
    found = replace(splits(LABELS, 3), train=labelled(LABELS, (2, 3, 4)))
    data = make(found, validation=0.2)
    assert data.spec.shape == (2, 3, 4) and data.spec.name == "toy"
    assert data.spec.class_names == ("class 0", "class 1", "class 2")
    assert data.train.spec is data.spec
    assert data.validation is not None and data.validation.spec is data.spec


def test_normalization_is_measured_on_what_remains_for_training() -> None:
    data = make(splits(LABELS, 3), validation=0.5)
    train = torch.tensor(values(data.train), dtype=torch.float64) / 255
    assert data.spec.normalization.mean == pytest.approx((float(train.mean()),), abs=1e-12)
    assert data.spec.normalization.std == pytest.approx((float(train.std(correction=0)),), abs=1e-12)
    named = replace(splits(LABELS, 3), name="mnist")
    assert make(named, normalization="published").spec.normalization.mean == (0.1307,)


def digest(found: LabelledSplits, **options: float) -> str:
    return make(found, **{"validation": 0, **options}).spec.digest  # type: ignore[arg-type]


def test_the_digest_follows_training_pixels_labels_and_names_only() -> None:
    found = splits([0, 1, 0], 2)
    first = digest(found)
    assert len(first) == 32 and digest(splits([0, 1, 0], 2)) == first
    assert digest(splits([0, 1, 0], 2, test=labelled([0, 1], start=3))) == first
    assert digest(splits([0, 1, 1], 2)) != first
    assert digest(replace(found, class_names=("class 0", "other"))) != first
    pixels = found.train.pixels.clone()
    pixels[2, 0, 1, 1] += 1
    assert digest(replace(found, train=replace(found.train, pixels=pixels))) != first
    reshaped = replace(found.train, pixels=found.train.pixels.view(3, 1, 1, 4))
    assert digest(replace(found, train=reshaped)) != first
    assert digest(splits(LABELS, 3), validation=0.2) != digest(splits(LABELS, 3))


def test_carve_test() -> None:
    found = carve_test(splits(LABELS[:-1], 2), 0.2, 3)
    assert found.test is not None
    assert torch.bincount(found.test.labels).tolist() == [5, 3]
    assert torch.bincount(found.train.labels).tolist() == [20, 11]
    other = carve_test(splits(LABELS[:-1], 2), 0.2, 4)
    assert other.test is not None and not torch.equal(other.test.pixels, found.test.pixels)
    assert carve_test(found, 0, 3) is found


def test_carve_test_needs_two_images_of_each_class() -> None:
    with pytest.raises(InputError, match="class 'class 2' of 'toy' has a single image"):
        carve_test(splits(LABELS, 3), 0.2, 0)


def test_faults_are_found_before_the_split() -> None:
    with pytest.raises(InputError, match="class 'class 1' has no training images"):
        make(splits([0, 0], 2))


def test_data_is_frozen() -> None:
    data = make(splits([0, 1], 2))
    assert isinstance(data, Data)
    with pytest.raises(AttributeError):
        data.test = None  # type: ignore[misc]


def sounding(labels: list[int], low: float, high: float) -> Labelled:
    count = len(labels)
    values = torch.linspace(low, high, 4 * count).view(count, 1, 2, 2)
    return Labelled(pixels=values, labels=torch.tensor(labels), marks=torch.arange(count))


def test_sound_is_scaled_by_its_training_part() -> None:
    parts = LabelledSplits(
        name="toy",
        class_names=("a", "b"),
        train=sounding([0, 1, 0, 1], -6.0, 2.0),
        test=sounding([0, 1], -10.0, 6.0),
        sound=Sound(),
    )
    data = make(parts, validation=0)
    sound = data.spec.sound
    assert sound is not None and (sound.low, sound.high) == (-6.0, 2.0)
    assert (float(data.train.pixels.min()), float(data.train.pixels.max())) == (0.0, 1.0)
    assert data.test is not None
    assert (float(data.test.pixels.min()), float(data.test.pixels.max())) == (-0.5, 1.5)
    # Networks see what they would see if the logarithms themselves were normalized.
    logarithms = parts.train.pixels
    seen = data.spec.normalization.apply(data.train.images(range(4)))
    torch.testing.assert_close(seen, (logarithms - logarithms.mean()) / logarithms.std(unbiased=False))


def test_the_digest_of_sound_is_that_of_the_recordings() -> None:
    def digest(**changes: Any) -> str:
        train = sounding([0, 1, 0, 1], -6.0, 2.0)
        sound = changes.pop("sound", Sound())
        return make(
            LabelledSplits(name="toy", class_names=("a", "b"), train=replace(train, **changes), sound=sound),
            validation=0,
        ).spec.digest

    pixels = sounding([0, 1, 0, 1], -6.0, 2.0 + 1e-6).pixels
    assert digest() == digest(pixels=pixels)
    others = [digest(marks=torch.arange(1, 5)), digest(labels=torch.tensor([1, 0, 0, 1])), digest(sound=Sound(hop=64))]
    assert len({digest(), *others}) == 4


def test_the_validation_part_of_sound_is_not_measured() -> None:
    data = make(
        LabelledSplits(name="toy", class_names=("a",), train=sounding([0] * 10, 0.0, 1.0), sound=Sound()),
        validation=0.5,
        split_seed=1,
    )
    assert data.validation is not None
    assert float(data.train.pixels.min()) == 0 and float(data.train.pixels.max()) == 1
    whole = torch.cat([data.train.pixels, data.validation.pixels])
    assert float(whole.max() - whole.min()) > 1


def test_silent_recordings_are_refused() -> None:
    with pytest.raises(InputError, match="all training recordings of 'toy' are silent"):
        make(LabelledSplits(name="toy", class_names=("a",), train=sounding([0, 0], 1.0, 1.0), sound=Sound()))
