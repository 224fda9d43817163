"""Refuse a second derivative through a function that has only a first.

torch's `once_differentiable` lets it through as a constant where the first gradient is one.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch

from plainformer.base import UserError

Gradients = TypeVar("Gradients")


def first_derivative_only(backward: Callable[..., Gradients]) -> Callable[..., Gradients]:
    """Make the `backward` of a `Function` raise `UserError` under `create_graph=True`."""

    @wraps(backward)
    def checked(ctx: Any, *gradients: torch.Tensor) -> Gradients:
        if torch.is_grad_enabled():
            raise UserError('the fused form has no second derivative: take use_backend("plain")')
        return backward(ctx, *gradients)

    return checked
