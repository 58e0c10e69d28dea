import pytest
import torch

import limbeck as lb
from limbeck.core.errors import InputError
from limbeck.data.of_classes import of_classes


def test_classes_are_numbered_anew_and_their_images_are_those_of_the_whole() -> None:
    whole = lb.data.load("digits")
    some = of_classes(whole, (7, 2, 5))
    assert some.spec.class_names == tuple(whole.spec.class_names[number] for number in (7, 2, 5))
    assert some.spec.normalization == whole.spec.normalization
    for part, of in ((some.train, whole.train), (some.validation, whole.validation), (some.test, whole.test)):
        assert part is not None and of is not None and part.spec == some.spec
        assert part.class_counts() == [len(of.class_rows(number)) for number in (7, 2, 5)]
        for label, number in enumerate((7, 2, 5)):
            assert torch.equal(part.images(part.class_rows(label)), of.images(of.class_rows(number)))
        rows = torch.arange(len(part)).view(-1, 1)
        assert part.labels.tolist() == [(7, 2, 5).index(int(label)) for label in of.labels if label in (7, 2, 5)]
        assert part.images(rows).shape == (len(part), 1, 1, 8, 8)


def test_other_choices_are_other_data() -> None:
    whole = lb.data.load("digits")
    digests = {of_classes(whole, numbers).spec.digest for numbers in ((0, 1), (1, 0), (0, 2))}
    assert len(digests) == 3 and whole.spec.digest not in digests


def test_numbers_arrive_as_asked_for() -> None:
    some = of_classes(lb.data.load("digits"), (1, 4)).train.to(torch.device("cpu"), torch.float64)
    assert some.images(some.class_rows(1)[:2]).dtype == torch.float64


@pytest.mark.parametrize("numbers", [(), (1, 1), (10,), (-1, 2)])
def test_what_is_no_choice_is_refused(numbers: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="are no choice among the 10 of 'digits'; name each once, from 0 to 9"):
        of_classes(lb.data.load("digits"), numbers)
