"""Keep torch.compile out of a function that depends on the lengths of a batch.

Its code would be compiled again for each batch. `torch.compiler.disable` does the same, but imports
the compiler, which takes half as long as importing torch. Here it is called only where the compiler
is imported already.
"""

import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


def disable_compile(form: Callable[P, R]) -> Callable[P, R]:
    """Return `form` as a function that is not compiled."""
    disabled: list[Callable[P, R]] = []

    def operation(*args: P.args, **kwargs: P.kwargs) -> R:
        if "torch._dynamo" not in sys.modules:
            return form(*args, **kwargs)
        if not disabled:
            disable: Callable[[Callable[P, R]], Callable[P, R]] = torch.compiler.disable
            disabled.append(disable(form))
        return disabled[0](*args, **kwargs)

    return operation
