"""limbeck: dataset distillation as compositions of interchangeable parts.

>>> import limbeck as lb
>>> from limbeck.methods.dream import dream
>>> data = lb.data.load("digits")
>>> distilled = lb.distill(dream("digits"), data, ipc=1)  # doctest: +SKIP
"""

from __future__ import annotations

from limbeck import data as data
from limbeck.core.distilled import Distilled as Distilled
from limbeck.core.errors import InputError as InputError
from limbeck.core.errors import LimbeckError as LimbeckError
from limbeck.core.recipe import Recipe as Recipe
from limbeck.engine.distill import distill as distill
from limbeck.engine.settings import Settings as Settings
from limbeck.evaluation import protocols as protocols
from limbeck.evaluation.evaluate import evaluate as evaluate
from limbeck.evaluation.labels import stored_labels as stored_labels
from limbeck.evaluation.relabel import relabel as relabel
from limbeck.evaluation.relabel import replay as replay
from limbeck.evaluation.scores import Scores as Scores
from limbeck.evaluation.teaching import taught_by as taught_by
from limbeck.formats.export import export as export
from limbeck.formats.native import load as load

__all__ = [
    "Distilled",
    "InputError",
    "LimbeckError",
    "Recipe",
    "Scores",
    "Settings",
    "data",
    "distill",
    "evaluate",
    "export",
    "load",
    "protocols",
    "relabel",
    "replay",
    "stored_labels",
    "taught_by",
]
