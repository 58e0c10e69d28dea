"""``limbeck demo``: distil bundled real digits on this machine, compare, and make a page."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro

from limbeck.cli.compare import show_comparison
from limbeck.cli.shared import seeds_of
from limbeck.data import load
from limbeck.engine.settings import Settings
from limbeck.evaluation import protocols
from limbeck.registry import method
from limbeck.reports.compare import compare

__all__ = ["Demo"]


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Distil scikit-learn's digits with DREAM at 1 and 10 images per class, compare with coresets, and make a page.

    Takes a few minutes on two CPU cores and needs no network. Repeating it continues where it was stopped.
    """

    out: Path = Path("limbeck-demo")
    """Folder for runs and report.html."""
    seeds: int = 3
    """Seeds of distillation and evaluation."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)
    """Device and progress."""
    json: bool = False
    """Print the table as JSON, alone on standard output."""

    def run(self, swaps: list[str], fields: list[str]) -> int:
        """Run the demo."""
        seeds = seeds_of(self.seeds)
        data = load("digits")
        names = ("random", "herding", "kcenter", "dream")
        found = {name: method(name) for name in names}
        recipes = {name: entry.recipe("digits" if "digits" in entry.presets else None) for name, entry in found.items()}
        # Fewer, larger steps: the demo's own economy, and said in its page.
        usual = protocols.limbeck(networks=("convnet3:width=32",), data="digits", updates=300)
        protocol = replace(usual, name="demo", training=replace(usual.training, lr=0.03))
        comparison = compare(
            recipes,
            data,
            ipcs=(1, 10),
            seeds=seeds,
            protocol=protocol,
            out=self.out,
            full=True,
            settings=self.settings,
        )
        show_comparison(comparison, recipes, self.out, self.json, "limbeck demo")
        return 0
