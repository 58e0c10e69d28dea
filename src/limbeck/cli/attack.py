"""Attacks on networks, as the command line names them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from limbeck.core.errors import InputError
from limbeck.evaluation.robustness import Attack

__all__ = ["AttackOptions"]


@dataclass(frozen=True, kw_only=True)
class AttackOptions:
    """How networks are attacked, with --metrics robustness: projected gradient descent in the maximum norm."""

    epsilons: tuple[str, ...] = ("2/255", "4/255", "8/255")
    """How far a pixel may be moved, in units of images in [0, 1], as fractions or numbers, rising."""
    attack_steps: int = 10
    """Steps of each attack."""
    attack_images: int = 1000
    """Test images that are attacked, chosen by the seed; 0 for all."""

    def attack(self) -> Attack:
        """The same as a value.

        Raises:
            InputError: a budget is no number.
        """
        try:
            epsilons = tuple(float(Fraction(text)) for text in self.epsilons)
        except (ValueError, ZeroDivisionError) as error:
            raise InputError(
                f"--epsilons takes fractions or numbers, for example 2/255 4/255 8/255, not {' '.join(self.epsilons)}."
            ) from error
        return Attack(epsilons=epsilons, steps=self.attack_steps, images=self.attack_images)
