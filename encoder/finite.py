"""Check that the outputs of a model are finite numbers."""

from typing import Any

from torch import Tensor

from plainformer.base import UserError


def check_finite(outputs: Any) -> None:
    """Raise `UserError` where a tensor among `outputs` holds NaN or an infinite number.

    Loaded weights are finite, so the numbers have grown too large in the forward pass.
    """
    if isinstance(outputs, Tensor):
        if outputs.is_floating_point() and not outputs.isfinite().all():
            raise UserError(
                "the model's outputs are NaN or infinite: its weights are too large, as after "
                "training has diverged; use an earlier checkpoint"
            )
    elif isinstance(outputs, tuple | list):
        for output in outputs:
            check_finite(output)
