"""The augmentation of networks on ImageNet: random windows, mirrors, colours and lighting."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.core.batch import Draws
from limbeck.core.contracts import Augmentation
from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec, Normalization
from limbeck.core.streams import Stream
from limbeck.ops import color, resized_crop, transforms

__all__ = ["ImagenetAugment"]


@dataclass(frozen=True, kw_only=True)
class ImagenetAugment(Augmentation):
    """A random window enlarged to the image's size, a mirror, brightness, contrast, saturation, and lighting.

    All is applied to every image. Colours are changed in [0, 1]: images come in normalized space, and are brought back
    for that and normalized again at the end. As IDC evaluates on ImageNet (the authors' code, which clamps nothing
    either; so the random order of its three changes of colour makes no difference and is left out).
    """

    references = ("kim2022idc",)

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Mean of each of three channels by which images are normalized; ImageNet's by default."""
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    """Standard deviation of each channel by which images are normalized; ImageNet's by default."""
    scale: tuple[float, float] = (0.5, 1.0)
    """Smallest and largest share of the image that a window covers; ``(1.0, 1.0)`` takes all of a square image."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest width over height of a window."""
    flip: bool = True
    """Whether every other image is mirrored."""
    jitter: float = 0.4
    """Brightness, contrast and saturation are multiplied by 1 minus to 1 plus this."""
    lighting: float = 0.1
    """Standard deviation of the shift along each principal colour of ImageNet, in units of its eigenvalue."""

    def fits(self, spec: DataSpec) -> None:
        """Images have three channels and are normalized by ``mean`` and ``std``."""
        if spec.channels != 3:
            raise InputError(
                f"augmentation 'imagenet_augment' is made for three channels and '{spec.name}' has {spec.channels}; "
                "use 'idc_augment'."
            )
        known = spec.normalization
        if known.whitening is not None:
            raise InputError(
                f"augmentation 'imagenet_augment' changes colours in [0, 1], and the images of '{spec.name}' are "
                "whitened; use 'dsa_augment', or load the data with normalization (--normalization) published."
            )
        if (tuple(self.mean), tuple(self.std)) != (tuple(known.mean), tuple(known.std)):
            raise InputError(
                f"augmentation 'imagenet_augment' is set to another normalization than that of '{spec.name}'; set its "
                f"mean to {known.mean} and its std to {known.std}."
            )

    def draw(self, stream: Stream, shape: tuple[int, int, int], batch: int | None) -> Draws:
        """The window (first row, first column, height, width), and the numbers of what is switched on.

        Raises:
            InputError: a field is out of its range, or images have not three channels.
        """
        self._check_fields()
        if shape[0] != 3:
            raise InputError(f"augmentation 'imagenet_augment' is made for three channels, not {shape[0]}.")
        size = () if batch is None else (batch,)
        draws: Draws = {"window": resized_crop.random_windows(stream, batch, shape[1:], self.scale, self.ratio)}
        if self.flip:
            draws["flip"] = stream.uniform(*size)
        if self.jitter:
            draws["factors"] = 1 + self.jitter * (2 * stream.uniform(*size, 3) - 1)
        if self.lighting:
            draws["alphas"] = self.lighting * stream.normal(*size, 3)
        return draws

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """What was drawn, and normalized again."""
        normalization = Normalization(self.mean, self.std)
        images = resized_crop.resized_crop(normalization.invert(images), draws["window"])
        if "flip" in draws:
            images = transforms.flip(images, draws["flip"])
        if "factors" in draws:
            images = color.jitter(images, draws["factors"])
        if "alphas" in draws:
            images = color.lighting(images, draws["alphas"])
        return normalization.apply(images)

    def _check_fields(self) -> None:
        sound = 0 < self.scale[0] <= self.scale[1] <= 1 and 0 < self.ratio[0] <= self.ratio[1]
        if not (sound and 0 <= self.jitter <= 1 and self.lighting >= 0 and len(self.mean) == len(self.std) == 3):
            raise InputError(
                "augmentation 'imagenet_augment' needs 0 < scale[0] <= scale[1] <= 1, 0 < ratio[0] <= ratio[1], 0 <= "
                "jitter <= 1, lighting >= 0 and three numbers in mean and std, not "
                f"{self.scale}, {self.ratio}, {self.jitter}, {self.lighting}, {self.mean} and {self.std}."
            )
