"""Define every operation twice: as its formula (`plain`) and on fast kernels (`fused`).

The `backend` of a model chooses between them, unless the context manager overrides it:

    model = Encoder(config, backend="plain")
    with use_backend("plain"):
        model(**batch)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, ParamSpec, TypeVar, get_args

import torch
from torch import Tensor

from plainformer.base import UserError
from plainformer.encoder.ops import fused, int8, int8_static, plain, prepacked

Backend = Literal["plain", "fused"]
P = ParamSpec("P")
R = TypeVar("R")

_chosen: ContextVar[Backend | None] = ContextVar("backend", default=None)


@contextmanager
def use_backend(backend: Backend, override: bool = True) -> Iterator[None]:
    """Run the operations of the `with` block in this form.

    Without `override` the choice of an outer `use_backend` holds.
    """
    if backend not in get_args(Backend):
        known = ", ".join(get_args(Backend))
        raise UserError(f"unknown backend {backend!r}: choose one of {known}")
    token = _chosen.set(backend if override else _chosen.get() or backend)
    try:
        yield
    finally:
        _chosen.reset(token)


def is_plain() -> bool:
    """Return whether the plain forms run; a compiler, which cannot trace this, gets the others."""
    return not torch.compiler.is_compiling() and _chosen.get() == "plain"


def _switch(plain_form: Callable[P, R], fused_form: Callable[P, R]) -> Callable[P, R]:
    """Return an operation that calls one of two forms of equal signature, as the backend says."""

    def operation(*args: P.args, **kwargs: P.kwargs) -> R:
        return (plain_form if is_plain() else fused_form)(*args, **kwargs)

    return operation


attention = _switch(plain.attention, fused.attention)
attention_with_weights = plain.attention_with_weights  # no fast kernel gives the weights
rotate = _switch(plain.rotate, fused.rotate)
linear = _switch(plain.linear, fused.linear)
layer_norm = _switch(plain.layer_norm, fused.layer_norm)
rms_norm = _switch(plain.rms_norm, fused.rms_norm)
gelu = _switch(plain.gelu, fused.gelu)
gelu_tanh = _switch(plain.gelu_tanh, fused.gelu_tanh)
cross_entropy = _switch(plain.cross_entropy, fused.cross_entropy)
int8_linear = _switch(int8.plain_linear, int8.fused_linear)
quantise = _switch(int8_static.plain_quantise, int8_static.fused_quantise)
static_linear = _switch(int8_static.plain_linear, int8_static.fused_linear)
prepacked_linear = _switch(prepacked.plain_linear, prepacked.fused_linear)

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "relu": torch.relu,
    "tanh": torch.tanh,
}
