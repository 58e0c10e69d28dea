"""Random networks that are never trained (DM, M3D)."""

from __future__ import annotations

from dataclasses import dataclass

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Pool, State, SyntheticImages
from limbeck.core.errors import InputError
from limbeck.core.network import FunctionalNetwork

__all__ = ["Fresh"]


@dataclass(frozen=True, kw_only=True)
class Fresh(Pool):
    """A network with random weights, replaced by another one every few outer iterations and never trained.

    Zhao and Bilen, "Dataset condensation with distribution matching", WACV 2023: many random embeddings do what few
    trained ones would.
    """

    references = ("zhao2023dm",)

    network: str = "convnet3"
    """Architecture, as `limbeck list networks` shows."""
    every: int = 1
    """Outer iterations that a network serves; ipm of M3D's code, where it is 5."""

    def check(self, context: Context) -> None:
        """The network exists and fits the images."""
        context.network(self.network)
        if self.every < 1:
            raise InputError(f"pool 'fresh' needs every >= 1, not {self.every}.")

    def init(self, context: Context) -> State:
        """No network yet."""
        return {"weights": {}, "life": -1}

    def copies(self) -> int:
        """One network, without velocity."""
        return 1

    def draw(self, state: State, context: Context, iteration: int) -> State:
        """A new network, or the same one while it serves."""
        life = iteration // self.every
        if life == state["life"]:
            return state
        return {"weights": context.initial(context.network(self.network), "network", life), "life": life}

    def view(self, state: State, context: Context) -> View:
        """The network; batch norm uses the statistics of what it sees, for it has no others."""
        return View(context.network(self.network), state["weights"])

    def architecture(self, context: Context) -> FunctionalNetwork:
        """What its networks look like."""
        return context.network(self.network)

    def advance(self, state: State, context: Context, moment: Moment, synthetic: SyntheticImages) -> State:
        """Networks stay as they are."""
        return state
