"""Tensors that have shapes and no numbers: to read one raises an error.

On a GPU it would stop the host until the device has caught up.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode


@contextmanager
def without_numbers(model: nn.Module, *batches: Any) -> Iterator[list[Any]]:
    """Take the numbers from a model and from batches within the context; yield the batches."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        for module in model.modules():
            for tensors in (module._parameters, module._buffers):
                for name, tensor in tensors.items():
                    tensors[name] = None if tensor is None else mode.from_tensor(tensor)
        yield [fake(batch, mode) for batch in batches]


def fake(value: Any, mode: FakeTensorMode) -> Any:
    """Copy a dataclass of tensors, and of such dataclasses, without the numbers."""
    if isinstance(value, Tensor):
        return mode.from_tensor(value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    given = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
    changed = {name: fake(one, mode) for name, one in given.items() if holds_tensors(one)}
    return replace(value, **changed)


def holds_tensors(value: Any) -> bool:
    """Return whether there is something to take from a value."""
    return isinstance(value, torch.Tensor) or is_dataclass(value)
