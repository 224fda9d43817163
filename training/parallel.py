"""Train a model on several processes with torch's own engines.

    ddp    every process holds the whole model; gradients are averaged during the backward pass
           (DistributedDataParallel: Li et al. 2020, arXiv:2006.15704)
    fsdp   every process holds a shard of each tensor of model, gradient and optimizer; a block is
           whole only while it computes (fully_shard: Zhao et al. 2023, arXiv:2304.11277)

Every computation with the model goes through one `ModelCall`, so that the engine sees it begin and
end: `call(objective, batch)`, `call(evaluate)`.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from plainformer.training.distributed import all_reduce_sum, is_main, world_size
from plainformer.training.objective import BatchT, Loss, ModelT, TrainingObjective, yields_losses


class ModelCall(nn.Module):
    """A model as DDP and FSDP wrap it: call(compute, *inputs) is compute(model, *inputs)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, compute: Callable[..., Any], *inputs: Any) -> Any:
        """Call `compute` with the model."""
        return compute(self.model, *inputs)


def to_device(
    model: nn.Module, device: torch.device, parallel: Literal["ddp", "fsdp"]
) -> ModelCall:
    """Move `model` to `device`; with fsdp on several processes, shard a copy of it."""
    if world_size() == 1 or parallel == "ddp":
        return ModelCall(model.to(device))
    # Importing the engine takes half as long as importing torch: one process does without.
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    call = ModelCall(copy.deepcopy(model))
    mesh = init_device_mesh(device.type, (world_size(),))
    for block in blocks_of(call.model):
        fully_shard(block, mesh=mesh)
    # After an evaluation the parameters outside the blocks are sharded again: they may be saved.
    fully_shard(call, mesh=mesh, reshard_after_forward=True)
    return call


def is_fsdp(call: nn.Module) -> bool:
    """Return whether the model is sharded: then all processes must take part in every call."""
    if world_size() == 1:
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(call, FSDPModule)


class HasBlocks(Protocol):
    """A model that names its blocks, the layers that it is a stack of."""

    @property
    def blocks(self) -> Iterable[nn.Module]:
        """Return each block once."""
        ...


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """Return the blocks of a model; fsdp, compilation, recomputation and Muon need `HasBlocks`."""
    return list(cast(HasBlocks, model).blocks)


@contextmanager
def layers_in_training(model: nn.Module, *, compiled: bool, recomputed: bool) -> Iterator[None]:
    """Compile the blocks of `model`, or recompute their activations, within the context.

    Recomputed: a block keeps only its inputs; the backward pass computes the rest again, with the
    same dropout (Chen et al. 2016, arXiv:1604.06174). Nothing is wrapped: tensors keep their names.
    """
    blocks = blocks_of(model) if compiled or recomputed else []
    for block in blocks:
        if compiled:
            block.forward = torch.compile(block.forward, dynamic=True)
        if recomputed:
            block.forward = partial(_recomputed, block.forward)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward  # uncovers the method of the class


def _recomputed(forward: Callable[..., Any], *inputs: Any) -> Any:
    # A backward pass on a GPU runs in its own thread, which does not see the choice of a backend.
    return checkpoint(copy_context().run, forward, *inputs, use_reentrant=False)


def wrap_ddp(
    call: ModelCall,
    objective: TrainingObjective[ModelT, BatchT],
    first_batch: Callable[[], BatchT],
) -> nn.Module:
    """Wrap `call` in DistributedDataParallel, where it can average the gradients.

    It cannot for one process, a sharded model, or an objective of several losses, since the last
    one is known only when the objective ends: see `average_gradients`. An objective may not
    use every parameter, and DistributedDataParallel must know whether some get no gradient.
    """
    if world_size() == 1 or is_fsdp(call) or yields_losses(objective):
        return call
    trained = [parameter for parameter in call.parameters() if parameter.requires_grad]
    loss: Loss = call(objective, first_batch())
    gradients = torch.autograd.grad(loss.total, trained, allow_unused=True)
    return DistributedDataParallel(
        call,
        gradient_as_bucket_view=True,
        find_unused_parameters=any(gradient is None for gradient in gradients),
    )


@contextmanager
def grad_sync(call: nn.Module, *, last: bool) -> Iterator[None]:
    """Accumulate gradients within the context; average them over all processes if `last`."""
    if is_fsdp(call):
        cast(Any, call).set_requires_gradient_sync(last)
    if isinstance(call, DistributedDataParallel) and not last:
        with call.no_sync():
            yield
    else:
        yield


def average_gradients(call: nn.Module, parameters: Sequence[nn.Parameter]) -> None:
    """Average the gradients over all processes, unless an engine has averaged them already.

    A parameter that has a gradient on some of the processes gets one on all.
    """
    if world_size() == 1 or is_fsdp(call) or isinstance(call, DistributedDataParallel):
        return
    used = all_reduce_sum(*(parameter.grad is not None for parameter in parameters))
    waiting = []
    for parameter, on_processes in zip(parameters, used, strict=True):
        if on_processes:
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = gradient.div_(world_size())
            waiting.append(distributed.all_reduce(gradient, async_op=True))
    for work in waiting:
        work.wait()


def is_sharded(tensor: Tensor) -> bool:
    """Return whether `tensor` is a `DTensor`: each process holds a shard of it."""
    return hasattr(tensor, "full_tensor")


def unshard(tensor: Tensor) -> Tensor:
    """Return the full tensor of a sharded one; all processes must call it."""
    if not is_sharded(tensor):
        return tensor
    full: Tensor = cast(Any, tensor).full_tensor()
    return full


def shard_like(full: Tensor, like: Tensor) -> Tensor:
    """Shard a full tensor as `like` is: the inverse of `unshard`, without communication."""
    if not is_sharded(like):
        return full
    from torch.distributed.tensor import distribute_tensor

    sharded = cast(Any, like)
    return distribute_tensor(full, sharded.device_mesh, sharded.placements, src_data_rank=None)


def full_state_dict(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Unshard tensors one by one to the main process's CPU; the others get an empty dictionary."""
    on_main: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        full = unshard(tensor)
        if is_main():
            on_main[name] = full.detach().cpu().contiguous()
    return on_main


@torch.no_grad()
def assign(target: Tensor, full: Tensor) -> None:
    """Copy a full tensor into `target`, or this process's shard of it into a sharded one."""
    if target.shape != full.shape:
        raise RuntimeError(f"{tuple(full.shape)} instead of {tuple(target.shape)}")
    target.copy_(shard_like(full.to(target.device), target))
