"""Check training on a GPU: engines, resume, optimizers, fp16, compilation, synchronisation.

The reference of a step under DDP or FSDP is the same step unwrapped; of a resumed run, the run that
was not stopped; of an optimizer, its step on the CPU; of fp16 and of compiled layers, the same
steps in fp32, not compiled.
"""

import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from gpu_checks import VOCAB, Check, relative, small_config, verdict
from torch import Tensor, nn

from plainformer.encoder import MaskedLM, Sequences, ops
from plainformer.encoder.packing import to_device
from plainformer.training import Loss, TrainingConfig, train
from plainformer.training.loss_scale import LossScale
from plainformer.training.optimizer import build_optimizer
from plainformer.training.parallel import ModelCall, layers_in_training
from plainformer.training.step import take_step


def training_checks(device: torch.device) -> Iterator[tuple[str, Check]]:
    """List the checks of training, each with a name."""
    yield "optimizers", lambda: optimizers(device)
    yield "fp16, loss scaled", lambda: loss_scaling(device)
    yield "a step without synchronisation", lambda: synchronisations(device)
    yield "compiled layers", lambda: compiled(device)
    yield "resume", lambda: resume(device)
    yield "ddp and fsdp", lambda: engines(device)


@dataclass(frozen=True)
class Tokens:
    """A packed batch in which every token is a target."""

    ids: Tensor
    sequences: Sequences

    @property
    def num_tokens(self) -> int:
        """Count the tokens of the batch."""
        return len(self.ids)

    def to(self, device: torch.device) -> "Tokens":
        """Copy the batch to `device`."""
        return Tokens(to_device(self.ids, device), self.sequences.to(device))


def batches(step: int) -> list[Tokens]:
    """Draw two micro-batches of unequal size, as a function of the step."""
    return drawn(step, ((3, 9, 30), (5, 17)))


def drawn(step: int, sizes: Sequence[Sequence[int]]) -> list[Tokens]:
    """Draw micro-batches of these lengths, as a function of the step."""
    generator = torch.Generator().manual_seed(step)
    return [
        Tokens(torch.randint(0, VOCAB, (sum(lengths),), generator=generator), Sequences.of(lengths))
        for lengths in sizes
    ]


def reconstruct(model: Any, batch: Tokens) -> Loss:
    """Sum −log p(token) over all tokens."""
    logits = model(batch.ids, sequences=batch.sequences)
    return Loss(ops.cross_entropy(logits.float(), batch.ids), batch.num_tokens)


def small_model(dropout: float | None = None, family: str = "bert") -> MaskedLM:
    """Build a small model from a seed, with the dropout of its family or another."""
    torch.manual_seed(0)
    return MaskedLM(small_config(family), dropout=dropout)


def settings(device: torch.device, **changes: Any) -> TrainingConfig:
    """Return settings of a few steps at a constant rate."""
    constant: dict[str, Any] = {"schedule": "constant", "warmup": 0.0, "learning_rate": 1e-3}
    return TrainingConfig(device=str(device), **constant | {"precision": "fp32"} | changes)


def weights_of(model: nn.Module) -> Tensor:
    """Return all parameters in one row, whole where they are sharded."""
    values = [getattr(p, "full_tensor", lambda p=p: p)() for p in model.parameters()]
    return torch.cat([value.detach().float().flatten() for value in values])


def steps(model: nn.Module, config: TrainingConfig, count: int) -> tuple[Tensor, Tensor]:
    """Take steps; return the loss of each, and what they added to the weights."""
    there = model.to(config.device).train()
    before, optimizer = weights_of(there).cpu(), build_optimizer(there, config)
    scale = LossScale() if config.precision == "fp16" else None
    taken = [
        take_step(ModelCall(there), reconstruct, batches, optimizer, config, step, loss_scale=scale)
        for step in range(count)
    ]
    losses = torch.stack([torch.as_tensor(one.sums["loss"]).cpu() / one.count for one in taken])
    return losses, weights_of(there).cpu() - before


def optimizers(device: torch.device) -> dict[str, Any]:
    """Compare the updates of three steps with those on the CPU; Muon computes in bf16 here."""
    errors = {}
    for name, bound in (("adamw", 1e-2), ("sgd", 1e-3), ("muon", 1e-1)):
        there, here = (
            steps(small_model(0.0), settings(at, optimizer=name), 3)
            for at in (device, torch.device("cpu"))
        )
        errors[f"losses with {name}"] = relative(there[0], here[0]), 1e-3
        errors[f"updates of {name}"] = relative(there[1], here[1]), bound
    return verdict(errors)


def loss_scaling(device: torch.device) -> dict[str, Any]:
    """Compare losses in fp16 with those in fp32; gradients must not underflow or overflow."""
    whole, half = (
        steps(small_model(0.0), settings(device, precision=name), 10) for name in ("fp32", "fp16")
    )
    return verdict(
        {
            "losses": (relative(half[0], whole[0]), 1e-2),
            "updates": (relative(half[1], whole[1]), 0.3),
        }
    )


def synchronisations(device: torch.device) -> dict[str, Any]:
    """Count how often the host waits for the device in steps in bf16."""
    if device.type != "cuda":
        return {"left_out": f"torch does not count them on {device.type}"}
    errors = {}
    for family in ("bert", "modernbert", "mpnet"):
        for optimizer in ("adamw", "muon"):
            model = small_model(family=family).to(device).train()
            config = settings(device, precision="bf16", optimizer=optimizer)
            made, call = build_optimizer(model, config), ModelCall(model)
            take_step(call, reconstruct, batches, made, config, 0)
            torch.cuda.set_sync_debug_mode("warn")
            try:
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    take_step(call, reconstruct, batches, made, config, 1)
            finally:
                torch.cuda.set_sync_debug_mode("default")
            waits = [str(one.message) for one in caught if "synchroniz" in str(one.message)]
            errors[f"{family} with {optimizer}"] = float(len(waits)), 0.5
    return verdict(errors)


def compiled(device: torch.device) -> dict[str, Any]:
    """Compare compiled layers with others, and count compilations after two steps."""
    from torch._dynamo.utils import counters

    sizes = [((3, 9, 30), (5, 17)), ((40, 2), (11,)), ((7, 7, 8),), ((60,), (3, 4)), ((1, 2, 3),)]
    found: dict[bool, Tensor] = {}
    graphs = []
    for is_compiled in (False, True):
        config = settings(device, precision="fp32")
        model = small_model(0.0, "modernbert").to(device).train()
        optimizer, call = build_optimizer(model, config), ModelCall(model)
        with layers_in_training(model, compiled=is_compiled, recomputed=False):
            for step, own in enumerate(sizes):
                some = drawn(step, own)
                take_step(call, reconstruct, lambda _: some, optimizer, config, step)  # noqa: B023
                graphs.append(counters["stats"]["unique_graphs"])
        found[is_compiled] = weights_of(model)
    return verdict(
        {
            "weights": (relative(found[True], found[False]), 1e-3),
            "compilations after two steps": (float(graphs[-1] - graphs[-4]), 0.5),
        }
    )


def engines(device: torch.device) -> dict[str, Any]:
    """Take one step unwrapped, under DDP and under FSDP; the weights after it must be equal."""
    from torch import distributed
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    config = settings(device)

    def step(wrap: Callable[[ModelCall], nn.Module]) -> Tensor:
        model = small_model().to(device).train()
        whole = wrap(ModelCall(model))
        take_step(whole, reconstruct, batches, build_optimizer(model, config), config, 0)
        return weights_of(model)

    bare = step(lambda whole: whole)
    backend = "nccl" if device.type == "cuda" else "gloo"
    store = distributed.HashStore()
    distributed.init_process_group(backend, store=store, rank=0, world_size=1)
    try:
        ddp = step(DistributedDataParallel)

        def shard(whole: ModelCall) -> nn.Module:
            mesh = distributed.init_device_mesh(device.type, (1,))
            for block in whole.model.blocks:
                fully_shard(block, mesh=mesh)
            fully_shard(whole, mesh=mesh)
            return whole

        fsdp = step(shard)
    finally:
        distributed.destroy_process_group()
    return verdict({"ddp": (relative(ddp, bare), 1e-5), "fsdp": (relative(fsdp, bare), 1e-5)})


def resume(device: torch.device) -> dict[str, Any]:
    """Stop a run of six steps after three, resume it, and compare every byte of the weights."""
    folder = Path(tempfile.mkdtemp())
    config = settings(device, checkpoint_every=3, precision="auto")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:

        def run(name: str, steps: int, resume: bool = False) -> Tensor:
            model = small_model()
            own = replace(config, steps=steps)
            train(model, reconstruct, batches, own, folder / name, resume=resume, quiet=True)
            return weights_of(model).cpu()

        unbroken = run("unbroken", 6)
        again = run("again", 6)
        shutil.copytree(folder / "unbroken", folder / "resumed")
        shutil.rmtree(folder / "resumed" / "checkpoints" / "step-00000006")
        resumed = run("resumed", 6, resume=True)
    finally:
        torch.use_deterministic_algorithms(before)
        shutil.rmtree(folder)
    return verdict(
        {
            "a resumed run": (float((unbroken - resumed).abs().max()), 1e-30),
            "the same run twice": (float((unbroken - again).abs().max()), 1e-30),
        }
    )
