"""What no compiler looks into: it goes by the lengths of a batch, and would be compiled for each.

As `torch.compiler.disable`, which is asked only when a compiler is there: to import one takes half
as long as to import torch.
"""

import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def disable_compile(form: Callable[P, R]) -> Callable[P, R]:
    """The same function, outside of all graphs."""
    disabled: list[Callable[P, R]] = []

    def operation(*args: P.args, **kwargs: P.kwargs) -> R:
        if "torch._dynamo" not in sys.modules:
            return form(*args, **kwargs)
        if not disabled:
            disable: Callable[[Callable[P, R]], Callable[P, R]] = torch.compiler.disable
            disabled.append(disable(form))
        return disabled[0](*args, **kwargs)

    return operation
