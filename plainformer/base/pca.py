"""Reduce vectors to their principal components (Pearson 1901).

    C = Xᶜᵀ Xᶜ / (n − 1),  Xᶜ = X − mean,     C = V diag(λ) Vᵀ  with  λ₁ ≥ λ₂ ≥ …
    Y = Xᶜ V[:, :size]

The rows of Y keep as much of the variance as `size` numbers can. The sign of a component means
nothing; here its largest number is positive.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.base.errors import UserError


def principal_components(
    x: Float[Tensor, "vectors hidden"], size: int
) -> Float[Tensor, "vectors size"]:
    """Compute the first `size` components of each vector, in double precision.

    Raises `UserError` where there are fewer: a component for each number of a vector, and one less
    than there are vectors.
    """
    most = min(x.shape[1], len(x) - 1)
    if size > most:
        raise UserError(f"{len(x)} vectors of {x.shape[1]} numbers have no {size} components")
    centred = x.double() - x.double().mean(0)
    covariance = centred.T @ centred / (len(x) - 1)  # (hidden, hidden)
    _, directions = torch.linalg.eigh(covariance)  # in columns, by rising variance
    first = directions.flip(1)[:, :size]
    largest = first.gather(0, first.abs().argmax(0, keepdim=True))  # (1, size)
    found: Tensor = centred @ (first * largest.sign())
    return found
