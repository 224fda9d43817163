"""The contenders of `speed.py` that train: each takes the same steps from the same start.

A contender is a function of a `Case` that builds a model and its optimizer, and returns a callable
from a batch to the loss before the step. It gets lists of ids, so the time includes packing or
padding, but not tokenizing and masking. All train without dropout, so that their losses must agree,
with fused AdamW, no decay of biases and norms, gradients clipped at 1, and on a GPU with bf16
autocast. Ours runs the loop of `training`; the others run a plain PyTorch loop, and compute logits
at every position, as their models do. Fine-tuning pads to the longest text of the batch.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from embedding_contenders import LeftOut
from torch import Tensor, nn
from workloads import TASK, Case, Labelled

from plainformer.encoder import MaskedLM, SequenceClassifier, Sequences
from plainformer.finetune.data.batch import Batch, Item
from plainformer.pretrain.batch import MaskedBatch
from plainformer.pretrain.objectives import masked_lm
from plainformer.tokenizer import Encoding
from plainformer.tokenizer.encoding import Tokens
from plainformer.training import Objective, TrainingConfig, autocast
from plainformer.training.optimizer import build_optimizer
from plainformer.training.parallel import ModelCall
from plainformer.training.step import take_step

IGNORED = -100
Step = Callable[[Any], np.ndarray]


def settings(case: Case) -> TrainingConfig:
    """Return settings with a small constant learning rate, so that losses stay comparable."""
    return TrainingConfig(
        learning_rate=1e-5,
        schedule="constant",
        warmup=0.0,
        device=str(case.device),
        precision=case.precision,
    )


def plainformer(case: Case) -> Step:
    """Train our model on packed batches, with logits at masked positions only."""
    if case.workload.kind == "mlm":
        return our_steps(case, MaskedLM.from_pretrained(case.folder, dropout=0.0), masked_lm)
    model = SequenceClassifier.from_pretrained(case.folder, dropout=0.0)
    return our_steps(case, model, lambda model, batch: TASK.loss(TASK.outputs(model, batch), batch))


def our_steps(case: Case, model: nn.Module, objective: Objective[Any, Any]) -> Step:
    """Return a step of the loop of `training`."""
    config = settings(case)
    whole = ModelCall(model.to(case.device).train())
    optimizer = build_optimizer(model, config)
    count = 0

    def step(batch: Any) -> np.ndarray:
        nonlocal count
        taken = take_step(whole, objective, lambda _: [fresh(batch)], optimizer, config, count)
        count += 1
        return np.array([float(taken.sums["loss"]) / taken.count])

    return step


def fresh(batch: MaskedBatch | Labelled) -> Any:
    """Copy a batch without the values that an earlier step cached in it."""
    if isinstance(batch, Labelled):
        rows = zip(batch.ids, batch.labels, strict=True)
        return Batch.of([Item((encoding(ids),), (np.array([label]),)) for ids, label in rows])
    sequences = Sequences.of(batch.sequences.lengths)
    return MaskedBatch(batch.input_ids, sequences, batch.target_positions, batch.labels)


def encoding(ids: list[int]) -> Encoding:
    """Wrap ids as the encoding of one text, with the fields that fine-tuning reads."""
    return Encoding(((Tokens(ids, [], []), 0, 0),))


def transformers(case: Case, attention: str = "sdpa", is_compiled: bool = False) -> Step:
    """Train `BertForMaskedLM` or `BertForSequenceClassification` in a plain loop."""
    from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification

    is_mlm = case.workload.kind == "mlm"
    kind = AutoModelForMaskedLM if is_mlm else AutoModelForSequenceClassification
    if attention == "flash_attention_2" and case.precision != "bf16":
        raise LeftOut("FlashAttention-2 has no fp32")
    model = kind.from_pretrained(
        case.folder,
        attn_implementation=attention,
        dtype=torch.float32,
        local_files_only=True,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        classifier_dropout=0.0,
    )
    model.to(case.device).train()
    config = settings(case)
    optimizer = build_optimizer(model, config)
    called = torch.compile(model, dynamic=True) if is_compiled else model

    def step(batch: MaskedBatch | Labelled) -> np.ndarray:
        inputs = {k: v.to(case.device) for k, v in padded(batch).items()}
        with autocast(case.device, config.precision):
            loss = called(**inputs).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        return np.array([loss.item()])

    return step


def padded(batch: MaskedBatch | Labelled) -> dict[str, Tensor]:
    """Pad a batch for transformers."""
    if isinstance(batch, Labelled):
        rows = [torch.tensor(ids) for ids in batch.ids]
        return {**pad(rows), "labels": torch.tensor(batch.labels)}
    lengths = list(batch.sequences.lengths)
    labels = torch.full_like(batch.input_ids, IGNORED)
    labels[batch.target_positions] = batch.labels
    rows, wanted = (torch.split(x, lengths) for x in (batch.input_ids, labels))
    return {**pad(rows), "labels": pad_rows(wanted, IGNORED)}


def pad(rows: Any) -> dict[str, Tensor]:
    """Pad ids to the longest text; return them and their mask."""
    return {
        "input_ids": pad_rows(rows, 0),
        "attention_mask": pad_rows([torch.ones_like(row) for row in rows], 0),
    }


def pad_rows(rows: Any, padding: int) -> Tensor:
    """Pad rows of unequal length into one tensor."""
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=padding)


TRAIN: dict[str, Callable[[Case], Step]] = {
    "plainformer": plainformer,
    "transformers eager": partial(transformers, attention="eager"),
    "transformers sdpa": transformers,
    "transformers sdpa, compiled": partial(transformers, is_compiled=True),
    "transformers FlashAttention-2": partial(transformers, attention="flash_attention_2"),
}
