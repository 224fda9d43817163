"""Build the contenders of `gpu_speed.py`: plainformer, and `transformers` in several forms.

All have the same weights. Training is in bf16 autocast, inference with bf16 weights (on a CPU: in
fp32). Where a batch of training does not fit into memory, it is split into micro-batches: `parts`.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from gpu_transformers import (
    ATTENTION,
    PACKED,
    SMALL_BATCHES,
    attention_of,
    their_step,
    their_vectors,
    theirs,
)
from gpu_works import Bench, Call, Work, even, portions, unit
from torch import Tensor, nn

from plainformer.encoder import Encoder, MaskedLM, SequenceClassifier, Sequences, pool
from plainformer.encoder.ops import cross_entropy
from plainformer.pretrain.batch import MaskedBatch
from plainformer.pretrain.objectives import masked_lm
from plainformer.training import Loss
from plainformer.training.optimizer import build_optimizer
from plainformer.training.parallel import ModelCall, layers_in_training
from plainformer.training.step import take_step

OURS = "plainformer"
CLASSES = {
    "mlm": (MaskedLM, "AutoModelForMaskedLM"),
    "classify": (SequenceClassifier, "AutoModelForSequenceClassification"),
    "embed": (Encoder, "AutoModel"),
}


def contenders(work: Work) -> list[str]:
    """List the contenders of a work, the most important first."""
    theirs = [f"transformers {name}" for name in ATTENTION]
    names = [OURS, *theirs, f"{OURS}, compiled", *(f"{name}, compiled" for name in theirs)]
    if work.kind != "embed":
        return names
    if work.at_once > 1:
        names.insert(2, SMALL_BATCHES)
    return [*names, *([PACKED] if work.model == "modern-base" else [])]


def make(bench: Bench, work: Work, name: str, parts: int, held: ExitStack) -> Call:
    """Build the function that does a work as a contender does, until `held` is closed."""
    is_compiled = name.endswith(", compiled")
    attention = "" if name.startswith(OURS) else attention_of(name)
    with torch.device(bench.device):
        torch.manual_seed(0)
        options: dict[str, Any] = {"pooler": False} if work.kind == "embed" else {}
        model = CLASSES[work.kind][0](work.config, **options)
    batches = list(portions(work.batch, even(work.texts, parts)))
    if work.kind == "embed":
        at_once = min(32, work.at_once) if name == SMALL_BATCHES else work.at_once or work.texts
        sizes = [at_once] * (work.texts // at_once)
        rest = work.texts - sum(sizes)
        batches = list(portions(work.batch, [*sizes, *([rest] if rest else [])]))
        model = model.to(bench.number_format)
    if name.startswith(OURS):
        held.enter_context(layers_in_training(model, compiled=is_compiled, recomputed=False))
        ours = our_vectors if work.kind == "embed" else our_step
        return ours(bench, model, batches)
    there = theirs(model, CLASSES[work.kind][1], name, attention).to(bench.device)
    if work.kind == "embed":
        return their_vectors(bench, there, batches, is_compiled)
    return their_step(bench, work.kind, there, batches, is_compiled)


def our_step(bench: Bench, model: nn.Module, batches: Sequence[MaskedBatch]) -> Call:
    """Take a step with the loop of `training`."""
    config, call = bench.settings, ModelCall(model.train())
    optimizer = build_optimizer(model, config)
    objective: Any = masked_lm if isinstance(model, MaskedLM) else classify
    count = 0

    def step() -> Tensor:
        nonlocal count
        some = [fresh(batch) for batch in batches]
        taken = take_step(call, objective, lambda _: some, optimizer, config, count)
        count += 1
        return torch.as_tensor(taken.sums["loss"]) / taken.count

    return step


def classify(model: Any, batch: MaskedBatch) -> Loss:
    """Sum −log p(label) over the texts."""
    logits = model(batch.input_ids, sequences=batch.sequences)
    return Loss(cross_entropy(logits.float(), batch.labels), len(batch.labels))


def fresh(batch: MaskedBatch) -> MaskedBatch:
    """Copy a batch without the values that an earlier step cached in it."""
    sequences = Sequences.of(batch.sequences.lengths)
    return MaskedBatch(batch.input_ids, sequences, batch.target_positions, batch.labels)


def our_vectors(bench: Bench, model: nn.Module, batches: Sequence[MaskedBatch]) -> Call:
    """Encode packed batches: the mean over the tokens, of length 1."""
    model.eval()

    @torch.no_grad()
    def encode() -> Tensor:
        found = []
        for batch in batches:
            some = fresh(batch).to(bench.device)
            states = model(some.input_ids, sequences=some.sequences).last_hidden_state
            found.append(unit(pool(states.float(), some.sequences, "mean")))
        return torch.cat(found)

    return encode
