"""Check numbers on a GPU against a reference: the second section of `gpu.py`.

The reference of outputs and gradients is the plain form in float64 on the CPU, equal weights; of a
step under DDP or FSDP, the same step unwrapped; of a resumed run, the uninterrupted one. Errors
are relative, ‖x − reference‖ / ‖reference‖; a check is right when each is within its bound.
"""

import copy
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from plainformer.encoder import (
    AttentionMask,
    ChoiceScorer,
    Discriminator,
    Encoder,
    MaskedLM,
    PairedMaskedLM,
    QuestionAnswerer,
    SequenceClassifier,
    Sequences,
    TokenClassifier,
    ops,
    use_backend,
)
from plainformer.encoder.ops import fused, plain
from plainformer.encoder.packing import to_device
from plainformer.encoder.weights import FAMILIES
from plainformer.training import Loss, TrainingConfig, train
from plainformer.training.optimizer import build_optimizer
from plainformer.training.parallel import ModelCall
from plainformer.training.step import take_step

FORMATS = (torch.float32, torch.bfloat16, torch.float16)
BOUNDS = {torch.float32: 2e-5, torch.bfloat16: 5e-2, torch.float16: 1e-2}
LENGTHS = (17, 1, 9, 30, 9)
VOCAB = 64
BACKENDS: tuple[Literal["plain", "fused"], ...] = ("plain", "fused")
HEADS = (
    *(Encoder, MaskedLM, PairedMaskedLM, Discriminator),
    *(SequenceClassifier, TokenClassifier, QuestionAnswerer, ChoiceScorer),
)
Check = Callable[[], dict[str, Any]]


def name_of(number_format: torch.dtype) -> str:
    """Return the short name of a number format: fp32, bf16, fp16."""
    names = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
    return names[number_format]


def checks(device: torch.device, tiny: bool) -> Iterator[tuple[str, Check]]:
    """List the checks, each with a name."""
    yield "attention", lambda: attention(device, longest=100 if tiny else 8192)
    for family in FAMILIES:
        if family != "plainformer":  # a mixture of the others
            yield f"family {family}", lambda family=family: every_head(family, device)
    yield "dropout", lambda: dropout(device, draws=200 if tiny else 2000)
    yield "ddp and fsdp", lambda: engines(device)
    yield "resume", lambda: resume(device)


def relative(x: Tensor, reference: Tensor) -> float:
    """Compute ‖x − reference‖ / ‖reference‖, NaN included."""
    difference = x.detach().cpu().double() - reference.detach().cpu().double()
    return float(difference.norm() / reference.detach().double().norm().clamp_min(1e-30))


def verdict(errors: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """List each error with its bound, and tell whether all are within bounds."""
    right = all(error <= bound for error, bound in errors.values())
    return {"right": right, **{name: f"{e:.1e} of {b:.0e}" for name, (e, b) in errors.items()}}


# Every family, every head.


def every_head(family: str, device: torch.device) -> dict[str, Any]:
    """Compare outputs and gradients of all heads, fused and plain, in every number format."""
    config = replace(
        FAMILIES[family].defaults,
        vocab_size=VOCAB,
        hidden_size=64,
        embedding_size=32 if FAMILIES[family].defaults.embedding_size else 0,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=64,
        pad_token_id=3,
        local_attention=8 if FAMILIES[family].defaults.local_attention else 0,
    )
    errors: dict[str, tuple[float, float]] = {}
    for head in HEADS:
        if head is not Encoder and head.__name__ not in FAMILIES[family].heads:
            continue
        torch.manual_seed(0)
        model: Any = head(config)
        randomise(model)
        model = model.eval()
        with use_backend("plain"):
            reference = outputs_and_gradient(copy.deepcopy(model).double())
        for number_format in FORMATS:
            for backend in BACKENDS:
                there = copy.deepcopy(model).to(device, number_format)
                with use_backend(backend):
                    found = outputs_and_gradient(there)
                for part, x, expected in zip(("out", "grad"), found, reference, strict=True):
                    name = f"{name_of(number_format)} {backend} {part}"
                    bound = BOUNDS[number_format] * (10 if part == "grad" else 1)
                    worst = errors.get(name, (0.0, bound))[0]
                    errors[name] = max(worst, relative(x, expected)), bound
    return verdict(errors)


def randomise(model: nn.Module) -> None:
    """Draw every parameter again, norms and biases included."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = 0.1 * torch.randn(parameter.shape)
            parameter.copy_(1 + noise if name.endswith("norm.weight") else noise)


def outputs_and_gradient(model: Any) -> tuple[Tensor, Tensor]:
    """Run a packed batch forward and backward; return all outputs and gradients in one row."""
    parameter = next(model.parameters())
    generator = torch.Generator().manual_seed(1)
    sequences = Sequences.of(sorted(LENGTHS)).to(parameter.device)
    ids = torch.randint(4, VOCAB, (sum(LENGTHS),), generator=generator).to(parameter.device)
    found = model(ids, sequences=sequences)
    if isinstance(model, Encoder):
        found = found.last_hidden_state
    parts = found if isinstance(found, tuple) else (found,)
    flat = torch.cat([part.double().flatten() for part in parts])
    weights = torch.randn(flat.shape, generator=generator, dtype=torch.float64)
    loss = (flat * weights.to(flat.device)).mean()
    trained = [p for p in model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, trained, allow_unused=True)
    given = [
        torch.zeros_like(p) if g is None else g for p, g in zip(trained, gradients, strict=True)
    ]
    return flat, torch.cat([g.double().flatten().cpu() for g in given])


# Attention by itself: windows, causality, long and empty texts.


def attention(device: torch.device, longest: int) -> dict[str, Any]:
    """Compare fused attention, forward and backward, with the formula in float64 on the CPU."""
    mixed = (1, 1, 77, 130, 300) if longest > 300 else (1, 1, 7, 13, 30)
    cases: list[tuple[str, Sequence[int], int | None, bool, bool]] = [
        ("mixed", mixed, None, False, False),
        ("mixed causal", mixed, None, True, False),
        ("mixed window", mixed, 5, False, False),
        ("mixed window causal", mixed, 5, True, False),
        ("mixed bias", mixed, None, False, True),
        ("long window", (3, longest), 64, False, False),
        ("long", (longest,), None, False, False),
        ("single tokens", (1,) * 5, None, False, False),
        ("nothing", (), None, False, False),
    ]
    errors: dict[str, tuple[float, float]] = {}
    for case, lengths, window, causal, biased in cases:
        sequences = Sequences.of(lengths, causal=causal)
        generator = torch.Generator().manual_seed(2)
        shape = (3, sum(lengths), 2, 64)
        qkv = torch.randn(shape, generator=generator, dtype=torch.float64)
        size = 2 * max(lengths, default=1) - 1
        bias = torch.randn(2, size, generator=generator, dtype=torch.float64) if biased else None
        mask = AttentionMask(sequences, window, bias)
        expected = heads_and_gradient(plain.attention, qkv, mask)
        for number_format in FORMATS:
            there = qkv.to(device, number_format)
            biases = None if bias is None else bias.to(device, number_format)
            mask = AttentionMask(sequences.to(device), window, biases)
            found = heads_and_gradient(fused.attention, there, mask)
            for part, x, y in zip(("out", "grad"), found, expected, strict=True):
                bound = BOUNDS[number_format]
                error = relative(x, y) if len(lengths) else float(x.numel())
                errors[f"{case}, {name_of(number_format)} {part}"] = error, bound
    return verdict(errors)


def heads_and_gradient(
    form: Callable[..., Tensor], qkv: Tensor, mask: AttentionMask
) -> tuple[Tensor, Tensor]:
    """Return the output of attention and the gradients of queries, keys and values."""
    qkv = qkv.clone().requires_grad_()
    heads = form(*qkv.unbind(), mask)
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(heads.shape, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((heads * weights.to(heads)).sum(), [qkv])
    return heads, gradient


def dropout(device: torch.device, draws: int, p: float = 0.3) -> dict[str, Any]:
    """Drop attention weights with the unit vectors as values: each is then 0 or w / (1 − p)."""
    lengths = (2, 3, 8, 8)
    sequences = Sequences.of(lengths).to(device)
    mask = AttentionMask(sequences)
    generator = torch.Generator().manual_seed(4)
    q, k = torch.randn(2, sum(lengths), 2, 8, generator=generator).to(device)
    v = torch.eye(8, device=device)[sequences.positions][:, None].expand(-1, 2, -1).contiguous()
    weights = plain.attention(q, k, v, mask)
    torch.manual_seed(0)
    drawn = torch.stack([fused.attention(q, k, v, mask, dropout=p) for _ in range(draws)])
    kept = drawn > 0
    share = kept[:, weights > 0].float().mean(0)
    deviation = (p * (1 - p) / draws) ** 0.5
    return verdict(
        {
            "a kept weight": (relative(drawn, kept * weights / (1 - p)), 1e-4),
            "share that is kept": (float((share - (1 - p)).abs().max()), 5 * deviation),
        }
    )


# Training: the engines, and resume.


@dataclass(frozen=True)
class Tokens:
    """A packed batch of tokens, each of which is to be reconstructed."""

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
    generator = torch.Generator().manual_seed(step)
    return [
        Tokens(torch.randint(0, VOCAB, (sum(lengths),), generator=generator), Sequences.of(lengths))
        for lengths in ((3, 9, 30), (5, 17))
    ]


def reconstruct(model: Any, batch: Tokens) -> Loss:
    """Sum −log p(token) over all tokens."""
    logits = model(batch.ids, sequences=batch.sequences)
    return Loss(ops.cross_entropy(logits.float(), batch.ids), batch.num_tokens)


def small_model() -> MaskedLM:
    """Build a BERT of two layers with dropout, from a seed."""
    torch.manual_seed(0)
    config = replace(
        FAMILIES["bert"].defaults,
        vocab_size=VOCAB,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
    )
    return MaskedLM(config)


def engines(device: torch.device) -> dict[str, Any]:
    """Take one step unwrapped, under DDP and under FSDP; the weights after it must be equal."""
    from torch import distributed
    from torch.distributed.fsdp import fully_shard
    from torch.nn.parallel import DistributedDataParallel

    settings = TrainingConfig(device=str(device), precision="fp32", learning_rate=1e-3)

    def step(wrap: Callable[[ModelCall], nn.Module]) -> Tensor:
        model = small_model().to(device).train()
        whole = wrap(ModelCall(model))
        take_step(whole, reconstruct, batches, build_optimizer(model, settings), settings, 0)
        values = [getattr(p, "full_tensor", lambda p=p: p)() for p in model.parameters()]
        return torch.cat([value.detach().flatten() for value in values])

    bare = step(lambda whole: whole)
    distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=distributed.HashStore(),
        rank=0,
        world_size=1,
    )
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
    settings = TrainingConfig(
        device=str(device), steps=6, checkpoint_every=3, warmup=0.0, schedule="constant"
    )
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:

        def run(name: str, steps: int, resume: bool = False) -> Tensor:
            model = small_model()
            changed = replace(settings, steps=steps)
            train(model, reconstruct, batches, changed, folder / name, resume=resume, quiet=True)
            return torch.cat([p.detach().cpu().flatten() for p in model.parameters()])

        unbroken = run("unbroken", 6)
        again = run("again", 6)
        shutil.copytree(folder / "unbroken", folder / "resumed")
        shutil.rmtree(folder / "resumed" / "checkpoints" / "step-00000006")
        resumed = run("resumed", 6, resume=True)
    finally:
        torch.use_deterministic_algorithms(before)
        shutil.rmtree(folder)
    return {
        "right": bool(torch.equal(unbroken, resumed)),
        "the same run twice": "equal in every byte"
        if torch.equal(unbroken, again)
        else "not equal",
        "largest difference": float((unbroken - resumed).abs().max()),
    }
