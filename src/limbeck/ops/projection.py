"""Features in a plane, to be looked at: principal components, and t-SNE."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["pca", "tsne"]

_COMPONENTS = 50
"""Principal components that t-SNE sees: what is left out is mostly noise, and the time is spent elsewhere."""
_PERPLEXITY = 30.0


def pca(features: Tensor, dimensions: int = 2) -> Tensor:
    """Features along their directions of largest variance.

    The sign of a direction is arbitrary; here its coordinate that is largest in size is positive.

    Args:
        features: ``[n, D]``.
        dimensions: how many directions; those that there are not hold zeros.

    Returns:
        float64 ``[n, dimensions]``, each column with mean 0.
    """
    centred = features.double() - features.double().mean(dim=0)
    if len(centred) < centred.shape[1]:
        values, vectors = torch.linalg.eigh(centred @ centred.T)
        found = vectors * values.clamp_min(0).sqrt()
    else:
        found = centred @ torch.linalg.eigh(centred.T @ centred).eigenvectors
    found = found.flip(1)[:, :dimensions]
    peaks = found.gather(0, found.abs().argmax(dim=0, keepdim=True))
    found = found * torch.where(peaks < 0, -1.0, 1.0)
    return torch.nn.functional.pad(found, (0, dimensions - found.shape[1]))


def tsne(features: Tensor, seed: int = 0) -> Tensor:
    """Features by t-SNE (van der Maaten and Hinton, 2008): neighbours stay neighbours, distances mean little.

    Barnes-Hut on the first 50 principal components, perplexity 30 or less where there are few points, started from
    the first two. Equal features and seeds give equal maps on one machine.

    Args:
        features: ``[n, D]``, n at least 2.
        seed: of scikit-learn's generator, which the start leaves little to draw.

    Returns:
        float64 ``[n, 2]``.
    """
    from sklearn.manifold import TSNE

    seen = pca(features, max(2, min(_COMPONENTS, *features.shape)))
    start = seen[:, :2]
    start = start / start[:, 0].std().clamp_min(torch.finfo(start.dtype).tiny) * 1e-4
    found = TSNE(
        perplexity=min(_PERPLEXITY, max(1.0, (len(features) - 1) / 3)),
        init=start.numpy(force=True),
        learning_rate="auto",
        random_state=seed,
        n_jobs=1,
    ).fit_transform(seen.numpy(force=True))
    return torch.from_numpy(found).double()
