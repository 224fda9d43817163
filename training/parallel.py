"""A model on many processes, by torch's own engines.

    ddp    every process has the whole model; gradients are averaged while they come about
           (DistributedDataParallel: Li et al. 2020, arXiv:2006.15704)
    fsdp   every process has a part of each tensor of model, gradient and optimizer, and has a block
           whole only while it computes with it (fully_shard: Zhao et al. 2023, arXiv:2304.11277)

All that is computed with the model is handed to it through one door, so that the engine sees it
come and go: `whole(objective, batch)`, `whole(evaluate)`.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from plainformer.training.distributed import is_main, world_size


class Whole(nn.Module):
    """The door to a model: whole(compute, *inputs) is compute(model, *inputs)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, compute: Callable[..., Any], *inputs: Any) -> Any:
        """Compute with the model."""
        return compute(self.model, *inputs)


def placed(model: nn.Module, device: torch.device, parallel: Literal["ddp", "fsdp"]) -> Whole:
    """The door to `model` on `device`; or, with fsdp, to a copy of it that is shared out."""
    if world_size() == 1 or parallel == "ddp":
        return Whole(model.to(device))
    # To import the engine takes half as long as to import torch: one process does without.
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    whole = Whole(copy.deepcopy(model))
    mesh = init_device_mesh(device.type, (world_size(),))
    for block in blocks(whole):
        fully_shard(block, mesh=mesh)
    # What stands outside the blocks is given back after an evaluation, too: it may be saved then.
    fully_shard(whole, mesh=mesh, reshard_after_forward=True)
    return whole


def is_shared_out(whole: nn.Module) -> bool:
    """Whether whatever is computed with a model takes all processes, also without gradients."""
    if world_size() == 1:
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(whole, FSDPModule)


def blocks(model: nn.Module) -> list[nn.Module]:
    """The layers that `model` is a stack of: the elements of its lists of modules."""
    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return [block for stack in stacks for block in stack]


@contextmanager
def layers_in_training(model: nn.Module, *, compiled: bool, recomputed: bool) -> Iterator[None]:
    """Within the block the layers of `model` run compiled, or keep their inputs alone, or both.

    What else the backward pass asks for is then computed again, with the same dropout (Chen et al.
    2016, arXiv:1604.06174). Nothing is wrapped: tensors keep their names.
    """
    layers = blocks(model) if compiled or recomputed else []
    for layer in layers:
        if compiled:
            layer.forward = torch.compile(layer.forward, dynamic=True)
        if recomputed:
            layer.forward = partial(_recomputed, layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the method of the class is there again


def _recomputed(forward: Callable[..., Any], *inputs: Any) -> Any:
    # A backward pass on a GPU has a thread of its own, which knows of no choice of a backend.
    return checkpoint(copy_context().run, forward, *inputs, use_reentrant=False)


def joined(whole: Whole, loss: Callable[[], Tensor]) -> nn.Module:
    """The same door, but so that gradients are averaged over all processes.

    `loss` is that of any batch: an objective may leave parameters alone, which then get no
    gradient, and DistributedDataParallel has to know whether to wait for one.
    """
    if world_size() == 1 or is_shared_out(whole):
        return whole
    trained = [parameter for parameter in whole.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss(), trained, allow_unused=True)
    return DistributedDataParallel(
        whole,
        gradient_as_bucket_view=True,
        find_unused_parameters=any(gradient is None for gradient in gradients),
    )


@contextmanager
def gathering(whole: nn.Module, *, last: bool) -> Iterator[None]:
    """Gradients within the block are only added up; with the `last` they go to all processes."""
    if is_shared_out(whole):
        cast(Any, whole).set_requires_gradient_sync(last)
    if isinstance(whole, DistributedDataParallel) and not last:
        with whole.no_sync():
            yield
    else:
        yield


def full(tensor: Tensor) -> Tensor:
    """The whole of a tensor that is shared out; all processes have to ask."""
    if not is_part(tensor):
        return tensor
    whole: Tensor = cast(Any, tensor).full_tensor()
    return whole


def is_part(tensor: Tensor) -> bool:
    """Whether it is a `DTensor`, which holds a part of a tensor in each process."""
    return hasattr(tensor, "full_tensor")


def part(whole: Tensor, like: Tensor) -> Tensor:
    """What `full` was given, of a tensor that is shared out as `like` is: nothing is sent."""
    if not is_part(like):
        return whole
    from torch.distributed.tensor import distribute_tensor

    shared = cast(Any, like)
    return distribute_tensor(whole, shared.device_mesh, shared.placements, src_data_rank=None)


def gathered(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The whole of each tensor, one after the other, on the main process alone, for its disk."""
    on_main: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        whole = full(tensor)
        if is_main():
            on_main[name] = whole.detach().cpu().contiguous()
    return on_main


@torch.no_grad()
def fill(target: Tensor, whole: Tensor) -> None:
    """Copy `whole` into `target`, or into the part of it that is here."""
    if target.shape != whole.shape:
        raise RuntimeError(f"{tuple(whole.shape)} instead of {tuple(target.shape)}")
    target.copy_(part(whole.to(target.device), target))
