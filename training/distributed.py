"""Run one program on several processes, as torchrun starts it.

    torchrun --nproc-per-node 8 -m plainformer pretrain …

torchrun sets RANK, WORLD_SIZE and LOCAL_RANK. Every process runs the same program on its part of
the work; the main process, of rank 0, writes files and messages. The numbers exchanged here go over
gloo, from CPU to CPU, so that no GPU has to be waited for. Without torchrun there is one process.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain, count, islice
from typing import TypeVar

import torch
from torch import Tensor, distributed
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from plainformer.base import UserError
from plainformer.base.environment import rank_and_world_size
from plainformer.training.accelerator import accelerator

Key = TypeVar("Key")
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

TIMEOUT = timedelta(minutes=10)
"""The time after which a process that does not answer is given up."""

_store: Store | None = None
_turns = count()


def rank() -> int:
    """Return the number of this process, from 0."""
    return rank_and_world_size()[0]


def world_size() -> int:
    """Return the number of processes."""
    return rank_and_world_size()[1]


def is_main() -> bool:
    """Return whether this is the process that writes files and messages."""
    return rank() == 0


@contextmanager
def processes() -> Iterator[None]:
    """Connect the processes that torchrun has started, within the context.

    A UserError in one process is raised there alone: the others exit with SystemExit(2). Raises
    UserError when another process has died: at once where its connections break, else after
    TIMEOUT.
    """
    global _store
    if world_size() == 1 or distributed.is_initialized():
        yield
        return
    try:
        try:
            store, number, size = next(rendezvous("env://"))
        except ValueError as error:  # a missing or invalid address or port
            reason = " ".join(str(error).split())
            raise UserError(
                f"WORLD_SIZE is {world_size()}: start with torchrun ({reason})"
            ) from None
        # torchrun's store outlives its restarts: each restart and each context has its own prefix.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        _store = PrefixStore(f"attempt {attempt}, block {next(_turns)}", store)
        distributed.init_process_group(
            _backends(accelerator()),
            store=_store,
            rank=number,
            world_size=size,
            timeout=TIMEOUT,
        )
        yield
    except UserError:
        if _faults(1) > 1:
            raise SystemExit(2) from None
        raise
    except RuntimeError as error:  # raised in the other processes when one has ended
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
            raise
        if _faults(1) > 1:
            raise SystemExit(2) from None
        raise UserError(
            "a process of this run is gone: killed, perhaps for lack of memory, or with its "
            "machine; start all of them again with --resume (torchrun --max-restarts 3 does)"
        ) from None
    distributed.destroy_process_group()
    _store = None


def _backends(kind: str | None) -> str:
    """Name the engines that exchange tensors: one for CPUs, and NCCL or XCCL for GPUs."""
    if kind is None or kind == "mps":
        return "gloo"
    return f"cpu:gloo,{kind}:{distributed.get_default_backend_for_device(kind)}"


def _faults(more: int) -> int:
    """Add to the number of failed processes; return the sum."""
    try:
        return int(_store.add("faults", more)) if _store else more
    except RuntimeError:  # the store ended with its process: count this one alone
        return more


@contextmanager
def main_first() -> Iterator[None]:
    """Run the context on the main process first, then on the others; all leave it together."""
    turn = f"turn {next(_turns)}"
    if _store is None:
        yield
        return
    while not is_main() and not _store.check([turn]):
        if _faults(0):
            raise SystemExit(2)
        time.sleep(0.05)
    yield
    if is_main():
        _store.set(turn, "over")
    distributed.barrier()


def local_indices(total: int) -> range:
    """Return the indices below `total` that belong to this process: rank, rank + world size, …

    Raises UserError when `total` is no multiple of the number of processes.
    """
    if total % world_size():
        raise UserError(
            f"{total} batches a step cannot be shared out evenly among {world_size()} processes: "
            f"choose --accumulate {-(-total // world_size()) * world_size()}, or another "
            "--nproc-per-node"
        )
    return range(rank(), total, world_size())


def all_reduce_sum(*numbers: int) -> list[int]:
    """Return the sum of each number over all processes."""
    if world_size() == 1:
        return list(numbers)
    values = torch.tensor(numbers, dtype=torch.int64)
    distributed.all_reduce(values)
    return values.tolist()


def all_reduce_sum_tensors(
    values: dict[Key, float | Tensor], device: torch.device
) -> dict[Key, float | Tensor]:
    """Return the sum of each number over all processes, as tensors on `device`, without a sync."""
    if world_size() == 1:
        return values
    sums = torch.stack([torch.as_tensor(v, device=device).double() for v in values.values()])
    distributed.all_reduce(sums)
    return dict(zip(values, sums.unbind(), strict=True))


def broadcast_from_main(numbers: Mapping[Key, float]) -> dict[Key, float]:
    """Return the numbers of the main process on all, so that all take the same decisions."""
    if world_size() == 1:
        return dict(numbers)
    values = torch.tensor(list(numbers.values()), dtype=torch.float64)
    distributed.broadcast(values, src=0)
    return dict(zip(numbers, values.tolist(), strict=True))


def distributed_map(
    compute: Callable[[ItemT], ResultT], items: Iterable[ItemT]
) -> Iterator[ResultT]:
    """Yield `compute` of each item, in order, on all processes: item i by process i mod n."""
    if world_size() == 1:
        yield from map(compute, items)
        return
    rest = iter(items)
    while group := list(islice(rest, world_size())):
        own = [compute(item) for item in group[rank() :][:1]]
        by_rank: list[list[ResultT]] = [[]] * world_size()
        distributed.all_gather_object(by_rank, own)
        yield from chain.from_iterable(by_rank)
