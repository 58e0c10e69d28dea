"""Real data: labelled images from bundled sets, folders, parquet files, torchvision and arrays."""

from __future__ import annotations

from limbeck.data.images import ImageSet as ImageSet
from limbeck.data.images import check_ipc as check_ipc
from limbeck.data.labelled import Labelled as Labelled
from limbeck.data.labelled import LabelledSplits as LabelledSplits
from limbeck.data.loading import NAMES as NAMES
from limbeck.data.loading import from_arrays as from_arrays
from limbeck.data.loading import from_dataset as from_dataset
from limbeck.data.loading import holds_sound as holds_sound
from limbeck.data.loading import load as load
from limbeck.data.normalizations import canonical_name as canonical_name
from limbeck.data.normalizations import changes_when_mirrored as changes_when_mirrored
from limbeck.data.options import LoadOptions as LoadOptions
from limbeck.data.splits import Data as Data
from limbeck.data.splits import make as make
from limbeck.data.streamed import StreamedSet as StreamedSet
from limbeck.data.subsets import SUBSETS as SUBSETS

__all__ = [
    "NAMES",
    "SUBSETS",
    "Data",
    "ImageSet",
    "Labelled",
    "LabelledSplits",
    "LoadOptions",
    "StreamedSet",
    "canonical_name",
    "changes_when_mirrored",
    "check_ipc",
    "from_arrays",
    "from_dataset",
    "holds_sound",
    "load",
    "make",
]
