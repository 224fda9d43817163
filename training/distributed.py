"""One program on many processes, as torchrun starts it: who am I, what do all of us have together?

    torchrun --nproc-per-node 8 -m plainformer pretrain …

torchrun tells each process its RANK among all (WORLD_SIZE) and its LOCAL_RANK on this machine.
Every process runs the same program on its share of the work; the main one, of rank 0, writes and
speaks. What they tell each other here goes over gloo, from CPU to CPU: no GPU has to be waited for.
Without torchrun there is one process, and nothing to be told.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from typing import TypeVar

import torch
from torch import Tensor, distributed
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from plainformer.base import UserError
from plainformer.base.environment import rank_and_world_size

Key = TypeVar("Key")

TIMEOUT = timedelta(minutes=10)
"""for which a process waits for another one that is silent"""

_store: Store | None = None
_turns = count()


def rank() -> int:
    """The number of this process, from 0."""
    return rank_and_world_size()[0]


def world_size() -> int:
    """How many processes there are."""
    return rank_and_world_size()[1]


def is_main() -> bool:
    """Whether this is the process that writes and speaks."""
    return rank() == 0


@contextmanager
def processes() -> Iterator[None]:
    """Join the processes that torchrun has started, for the length of the block.

    When one fails by an error of the user, it speaks for all: the others leave with SystemExit(2).
    Raises UserError when another one is gone: at once where its connections break, after TIMEOUT
    where they are silent.
    """
    global _store
    if world_size() == 1 or distributed.is_initialized():
        yield
        return
    try:
        try:
            store, number, size = next(rendezvous("env://"))
        except ValueError as error:  # an address or a port that is missing, or none
            reason = " ".join(str(error).split())
            raise UserError(
                f"WORLD_SIZE is {world_size()}: start with torchrun ({reason})"
            ) from None
        # torchrun's outlives its restarts: another part of it for each, and for each block.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        _store = PrefixStore(f"attempt {attempt}, block {next(_turns)}", store)
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
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
    except RuntimeError as error:  # what the others meet when one has left
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


def _faults(more: int) -> int:
    """Add to the faults of all processes; give how many there are now."""
    try:
        return int(_store.add("faults", more)) if _store else more
    except RuntimeError:  # the store is gone with its process: this one speaks for itself
        return more


@contextmanager
def main_first() -> Iterator[None]:
    """Let the main process go through the block, then the others; they leave it together."""
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


def share(total: int) -> range:
    """The numbers below `total` that are this process's own: its rank, and every so many on.

    Raises UserError when the processes cannot have as many each.
    """
    if total % world_size():
        raise UserError(
            f"{total} batches a step cannot be shared out evenly among {world_size()} processes: "
            f"choose --accumulate {-(-total // world_size()) * world_size()}, or another "
            "--nproc-per-node"
        )
    return range(rank(), total, world_size())


def summed(*numbers: int) -> list[int]:
    """The sum of each number over all processes."""
    if world_size() == 1:
        return list(numbers)
    values = torch.tensor(numbers, dtype=torch.int64)
    distributed.all_reduce(values)
    return values.tolist()


def summed_tensors(
    values: dict[Key, float | Tensor], device: torch.device
) -> dict[Key, float | Tensor]:
    """The sum of each number over all processes, computed on `device` without waiting for it."""
    if world_size() == 1:
        return values
    sums = torch.stack([torch.as_tensor(v, device=device).double() for v in values.values()])
    distributed.all_reduce(sums)
    return dict(zip(values, sums.unbind(), strict=True))


def of_main(numbers: Mapping[Key, float]) -> dict[Key, float]:
    """The numbers of the main process, on all: they may decide, and all must decide alike."""
    if world_size() == 1:
        return dict(numbers)
    values = torch.tensor(list(numbers.values()), dtype=torch.float64)
    distributed.broadcast(values, src=0)
    return dict(zip(numbers, values.tolist(), strict=True))
