"""DD-Ranking's scores on the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from limbeck.cli.shared import note
from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.evaluation.labels import ByTeacher, Labels
from limbeck.evaluation.protocols import Protocol
from limbeck.evaluation.ranking import RankingProtocol
from limbeck.formats.ranking_config import read_ranking_config
from limbeck.storage.cache import cache_root

__all__ = ["RankingOptions", "labels_for_both", "rankings_folder"]


@dataclass(frozen=True, kw_only=True)
class RankingOptions:
    """How DD-Ranking's scores are measured, with --metrics ranking."""

    ranking_config: Path | None = None
    """YAML file of DD-Ranking that says how networks are trained, instead of --protocol, --networks and --length."""
    ranking_runs: int | None = None
    """How often everything is done, each time from other streams; 5, or what the file says, by default."""
    ranking_augmentation: bool = False
    """Measure the robustness against leaving out the augmentation (ARS) as well."""
    augment_hard: bool = False
    """Augment images in trainings by hard labels as well."""

    def protocol(
        self,
        distilled: Distilled,
        base: Protocol,
        learning_rates: tuple[float, ...],
        with_labels: Callable[[Protocol], Protocol],
    ) -> RankingProtocol:
        """The same as a value; notes on the file go to standard error.

        Args:
            distilled: the set.
            base: how networks are trained where there is no file.
            learning_rates: step sizes to choose from; DD-Ranking's where there are none.
            with_labels: a protocol with the kind of labels that was asked for.
        """
        found = RankingProtocol(base=base)
        if self.ranking_config is not None:
            found, notes = read_ranking_config(self.ranking_config, distilled)
            for line in notes:
                note(line)
        runs = found.runs if self.ranking_runs is None else self.ranking_runs
        return replace(
            found,
            base=with_labels(found.base),
            learning_rates=learning_rates or found.learning_rates,
            runs=runs,
            augmentation=self.ranking_augmentation,
            augment_hard=found.augment_hard or self.augment_hard,
        )


def labels_for_both(labels: Labels | None) -> ByTeacher | None:
    """Labels that the set and random images can have.

    Raises:
        InputError: they are stored, so that they belong to the set alone.
    """
    if labels is None or isinstance(labels, ByTeacher):
        return labels
    raise InputError("stored labels belong to the set alone, and a ranking labels random images, too; name a teacher.")


def rankings_folder(choice: bool | Path) -> Path | None:
    """Where accuracies of all real images are kept: the usual folder (True), below another one, or nowhere (False)."""
    if isinstance(choice, bool):
        return cache_root() / "rankings" if choice else None
    return choice.expanduser() / "rankings"
