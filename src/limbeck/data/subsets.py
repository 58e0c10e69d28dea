"""Published subsets of ImageNet by name, and how classes of a data set are chosen.

A subset is a list of WordNet numbers, which are the names of ImageNet's class folders. Where they come from:

* ``imagenette`` and ``imagewoof``: Jeremy Howard's (github.com/fastai/imagenette), as MTT uses them;
* ``imagefruit``, ``imageyellow``, ``imagemeow`` and ``imagesquawk``: MTT (Cazenavette et al., CVPR 2022). Its code
  (``Config`` in ``utils.py``) gives class numbers in sorted order of the WordNet numbers; the copies by WordNet number
  that go with RDED differ from it in two classes (custard apple for Granny Smith, the garden spider n01773797 for the
  black and gold one), and the code of MTT is followed here;
* ``imagenet100``: the 100 classes of CMC (Tian et al., ECCV 2020; ``imagenet100.txt``), which IDC (Kim et al., ICML
  2022; ``class100.txt``) distils; ``imagenet10``: its first 10, which are IDC's. Papers on clustering call other ten
  classes ImageNet-10.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.core.errors import InputError, unknown

__all__ = ["SUBSETS", "choose_classes", "chosen", "subset_name"]

_NAMES_SHOWN = 20
_IMAGENET100 = (
    "n02869837 n01749939 n02488291 n02107142 n13037406 n02091831 n04517823 n04589890 n03062245 n01773797 n01735189 "
    "n07831146 n07753275 n03085013 n04485082 n02105505 n01983481 n02788148 n03530642 n04435653 n02086910 n02859443 "
    "n13040303 n03594734 n02085620 n02099849 n01558993 n04493381 n02109047 n04111531 n02877765 n04429376 n02009229 "
    "n01978455 n02106550 n01820546 n01692333 n07714571 n02974003 n02114855 n03785016 n03764736 n03775546 n02087046 "
    "n07836838 n04099969 n04592741 n03891251 n02701002 n03379051 n02259212 n07715103 n03947888 n04026417 n02326432 "
    "n03637318 n01980166 n02113799 n02086240 n03903868 n02483362 n04127249 n02089973 n03017168 n02093428 n02804414 "
    "n02396427 n04418357 n02172182 n01729322 n02113978 n03787032 n02089867 n02119022 n03777754 n04238763 n02231487 "
    "n03032252 n02138441 n02104029 n03837869 n03494278 n04136333 n03794056 n03492542 n02018207 n04067472 n03930630 "
    "n03584829 n02123045 n04229816 n02100583 n03642806 n04336792 n03259280 n02116738 n02108089 n03424325 n01855672 "
    "n02090622"
)

_NAMED: dict[str, dict[str, str]] = {
    "imagenet10": {
        "n01749939": "green mamba",
        "n01773797": "garden spider",
        "n02091831": "Saluki",
        "n02107142": "Doberman",
        "n02488291": "langur",
        "n02869837": "bonnet",
        "n03062245": "cocktail shaker",
        "n04517823": "vacuum",
        "n04589890": "window screen",
        "n13037406": "gyromitra",
    },
    "imagenette": {
        "n01440764": "tench",
        "n02102040": "English springer",
        "n02979186": "cassette player",
        "n03000684": "chain saw",
        "n03028079": "church",
        "n03394916": "French horn",
        "n03417042": "garbage truck",
        "n03425413": "gas pump",
        "n03445777": "golf ball",
        "n03888257": "parachute",
    },
    "imagewoof": {
        "n02086240": "Shih-Tzu",
        "n02087394": "Rhodesian ridgeback",
        "n02088364": "beagle",
        "n02089973": "English foxhound",
        "n02093754": "Border terrier",
        "n02096294": "Australian terrier",
        "n02099601": "golden retriever",
        "n02105641": "Old English sheepdog",
        "n02111889": "Samoyed",
        "n02115641": "dingo",
    },
    "imagefruit": {
        "n07718472": "cucumber",
        "n07720875": "bell pepper",
        "n07742313": "Granny Smith",
        "n07745940": "strawberry",
        "n07747607": "orange",
        "n07749582": "lemon",
        "n07753113": "fig",
        "n07753275": "pineapple",
        "n07753592": "banana",
        "n07768694": "pomegranate",
    },
    "imageyellow": {
        "n01531178": "goldfinch",
        "n01773157": "black and gold garden spider",
        "n02129165": "lion",
        "n02206856": "bee",
        "n03530642": "honeycomb",
        "n04146614": "school bus",
        "n07749582": "lemon",
        "n07753592": "banana",
        "n12057211": "yellow lady's slipper",
        "n12144580": "corn",
    },
    "imagemeow": {
        "n02123045": "tabby",
        "n02123159": "tiger cat",
        "n02123394": "Persian cat",
        "n02123597": "Siamese cat",
        "n02124075": "Egyptian cat",
        "n02127052": "lynx",
        "n02128757": "snow leopard",
        "n02128925": "jaguar",
        "n02129165": "lion",
        "n02129604": "tiger",
    },
    "imagesquawk": {
        "n01518878": "ostrich",
        "n01614925": "bald eagle",
        "n01806143": "peacock",
        "n01818515": "macaw",
        "n01819313": "sulphur-crested cockatoo",
        "n01843383": "toucan",
        "n01860187": "black swan",
        "n02007558": "flamingo",
        "n02051845": "pelican",
        "n02056570": "king penguin",
    },
}
"""WordNet number and English name of each class, for the subsets of ten."""

SUBSETS: dict[str, tuple[str, ...]] = {
    **{name: tuple(classes) for name, classes in _NAMED.items()},
    "imagenet100": tuple(sorted(_IMAGENET100.split())),
}
"""WordNet numbers of each published subset, sorted."""

_ENGLISH = {number: name for classes in _NAMED.values() for number, name in classes.items()}


def subset_name(classes: str | Sequence[str] | None) -> str | None:
    """The published subset that is meant, or None: ``ImageNet-10`` gives ``imagenet10``.

    Args:
        classes: what was asked for: one name, or several.
    """
    if classes is not None and not isinstance(classes, str):
        if len(classes) != 1:
            return None
        classes = classes[0]
    key = re.sub(r"[^a-z0-9]", "", (classes or "").lower())
    return key if key in SUBSETS else None


def chosen(classes: str | Sequence[str], names: Sequence[str], where: str) -> tuple[int, ...]:
    """Numbers of the classes that are asked for, rising, so that the order is that of the data.

    A class is found by its name. Those of the subsets of ten are also found by their English names where the data
    have these instead of WordNet numbers, alone or in front of a comma ("tench, Tinca tinca").

    Args:
        classes: a published subset by name, the name of a class, or names of classes.
        names: names of all classes of the data, in label order.
        where: what to call the data in a message.

    Raises:
        InputError: nothing is asked for, a class is asked for twice, or the data do not have it.
    """
    asked = (classes,) if isinstance(classes, str) else tuple(classes)
    subset = subset_name(asked)
    if subset is not None and asked[0] not in names:
        asked = SUBSETS[subset]
    if not asked:
        raise InputError("classes (--classes) names no class; name some, or leave it out")
    numbers = {name: number for number, name in enumerate(names)}
    english = {_plain(name.split(",")[0]): number for number, name in enumerate(names)}
    found = []
    for name in asked:
        number = numbers.get(name)
        if number is None and name in _ENGLISH:
            number = english.get(_plain(_ENGLISH[name]))
        if number is None:
            if subset is None:
                raise _missing(name, names, where, alone=len(asked) == 1)
            called = f" ({_ENGLISH[name]})" if name in _ENGLISH else ""
            raise InputError(
                f"'{where}' has no class '{name}'{called} of the subset {subset}; give data that hold it, or name "
                "other classes (--classes)"
            )
        if number in found:
            raise InputError(f"class '{name}' is named twice; name each class (--classes) once")
        found.append(number)
    return tuple(sorted(found))


def _missing(name: str, names: Sequence[str], where: str, alone: bool) -> InputError:
    """The error for a class that the data do not have; ``alone`` if a subset could be meant as well."""
    known = (*names, *SUBSETS) if alone else tuple(names)
    if len(names) <= _NAMES_SHOWN or difflib.get_close_matches(name, known, n=1):
        return unknown(f"class of '{where}'", name, known)
    return InputError(
        f"'{where}' has no class '{name}'; its {len(names)} classes have names like '{names[0]}' and '{names[-1]}'"
    )


def choose_classes(labels: Tensor, numbers: Sequence[int], classes: int) -> tuple[Tensor, Tensor]:
    """Rows of the chosen classes and their new labels, 0 for the first of them, and so on.

    Args:
        labels: int64 ``[N]``, each in ``0 .. classes - 1``.
        numbers: the chosen classes.
        classes: number of classes of the data.

    Returns:
        Rows ``[n]`` in data set order, and labels ``[n]``.
    """
    renumbered = torch.full((classes,), -1, dtype=torch.int64)
    renumbered[torch.tensor(numbers, dtype=torch.int64)] = torch.arange(len(numbers))
    new = renumbered[labels]
    rows = (new >= 0).nonzero().flatten()
    return rows, new[rows]


def _plain(name: str) -> str:
    return name.strip().replace("_", " ").lower()
