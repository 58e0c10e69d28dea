"""DREAM: matching with representative real images instead of random ones (Liu et al., ICCV 2023).

The algorithm box of the paper, line by line; everything else is the base method's:

| line | here |
| --- | --- |
| initialize S with the centres of N clusters of each class | `Clustered` |
| every I_int steps: k-means of each class in the embedding of the matching network | `Representative.interval` |
| the sub-cluster centres are the mini-batch of real images | `Representative.rows` |

Of paper and code: 1200 outer iterations (paper), embeddings of normalized images (paper), an interval counted in inner
steps and squared differences summed rather than averaged (code). An image is picked at most once and empty
clusters are filled again, where the code repeats images; presets ending in ``-code`` follow the code in all of this.
"""

from __future__ import annotations

from limbeck.core.errors import unknown
from limbeck.core.recipe import Recipe
from limbeck.initializers.clustered import Clustered
from limbeck.methods import idc as _idc
from limbeck.samplers.representative import Representative
from limbeck.training.clustering import Clustering

__all__ = ["PRESETS", "dream"]

_OURS = ("small", "digits", "fsdd")
_PAPER = tuple(name for name in _idc.PRESETS if name not in _OURS)
PRESETS = (*_PAPER, *(f"{name}-code" for name in _PAPER), *_OURS)

_BATCH = {"tiny-imagenet": 64, "small": 64, "digits": 32}
"""Representatives per class where they are not 128."""
_CANDIDATES = {"small": 1000}
"""Images of a class that are clustered where it is not all of them."""


def dream(preset: str | None = None, base: Recipe | None = None, ipc: int = 10) -> Recipe:
    """The recipe of DREAM on a base method.

    Args:
        preset: whose settings to use, ``cifar10`` by default; with a base, only the sampler's.
        base: the method to improve; IDC with the same preset by default. One that is not compared with batches of real
            images, like MTT or AST, gets the initialization alone.
        ipc: images per class, for the default base.

    Raises:
        InputError: there is no such preset.
    """
    name = preset or "cifar10"
    if name not in PRESETS:
        raise unknown("preset of dream", name, PRESETS)
    follow_code, name = name.endswith("-code"), name.removesuffix("-code")
    clustering = Clustering.official() if follow_code else Clustering(candidates=_CANDIDATES.get(name, 0))
    if base is None:
        base = _idc.idc(name, ipc=ipc)
        if follow_code:
            base = base.with_(pool__training__batch_size=_BATCH.get(name, 128), parametrization__grid="official")
        elif name in _PAPER and name not in ("imagenet10", "imagenet100", "mini-speech-commands"):
            base = base.with_(curriculum__iterations=1200)
    batches = Representative(batch_size=_BATCH.get(name, 128), clustering=clustering)
    return base.with_(
        name="dream",
        base=base.name,
        # Without an objective nothing of it would have an effect, and the recipe is refused.
        sampler=None if base.sampler is None and base.objective is not None else batches,
        initializer=Clustered(clustering=clustering),
        references=("liu2023dream", *base.references),
    )
