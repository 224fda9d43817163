"""Train and run models of `transformers` with our weights, as contenders of `gpu_speed.py`.

They get padded batches, from shorter to longer texts, and compute logits at every position. With
FlashAttention-2 and with packed-encoders, where those are installed.
"""

import importlib.util
from collections.abc import Sequence
from typing import Any

import torch
from gpu_works import Bench, Call, Kind, LeftOut, unit
from torch import Tensor, nn

from plainformer.encoder.packing import to_device
from plainformer.encoder.weights.save import hf_config, saved_tensors
from plainformer.pretrain.batch import MaskedBatch
from plainformer.training import autocast
from plainformer.training.optimizer import build_optimizer

PACKED = "packed-encoders"
ATTENTION = {"sdpa": "sdpa", "FlashAttention-2": "flash_attention_2"}
SMALL_BATCHES = "transformers sdpa, 32 at a time"


def attention_of(name: str) -> str:
    """Return the attention of a contender; raise `LeftOut` if its package is not installed."""
    attention = next((ATTENTION[key] for key in ATTENTION if f"transformers {key}" in name), "sdpa")
    needed = {
        "transformers": True,
        "flash_attn": attention == "flash_attention_2",
        "packed_encoders": name == PACKED,
    }
    for package, is_needed in needed.items():
        if is_needed and not importlib.util.find_spec(package):
            raise LeftOut(f"{package} is not installed")
    return attention


def theirs(model: Any, kind: str, name: str, attention: str) -> Any:
    """Build a model of `transformers` with our weights."""
    import transformers

    transformers.logging.set_verbosity_error()
    settings = dict(hf_config(model))
    like = next(model.parameters())
    config = transformers.AutoConfig.for_model(settings.pop("model_type"), **settings)
    with like.device:
        there = getattr(transformers, kind).from_config(
            config, attn_implementation=attention, dtype=like.dtype
        )
    unknown = there.load_state_dict(saved_tensors(model), strict=False).unexpected_keys
    if unknown:
        raise LeftOut(f"it has no tensor {unknown[0]}")
    there.tie_weights()
    if name == PACKED:
        import packed_encoders

        packed_encoders.pack(there.eval())
    return there


def their_step(
    bench: Bench, kind: Kind, model: Any, batches: Sequence[MaskedBatch], compiled: bool
) -> Call:
    """Take a step in a plain PyTorch loop, with the same optimizer."""
    config = bench.settings
    optimizer = build_optimizer(model.train(), config)
    called = torch.compile(model, dynamic=True) if compiled else model
    inputs = [padded(batch, kind) for batch in batches]
    items = [len(batch.labels) for batch in batches]

    def step() -> Tensor:
        total: Any = 0.0
        for batch, count in zip(inputs, items, strict=True):
            there = {name: to_device(x, bench.device) for name, x in batch.items()}
            with autocast(bench.device, config.precision):
                loss = called(**there).loss * (count / sum(items))
            loss.backward()
            total = total + loss.detach()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        return torch.as_tensor(total)

    return step


def their_vectors(bench: Bench, model: Any, batches: Sequence[MaskedBatch], compiled: bool) -> Call:
    """Encode padded batches: the mean over the tokens, of length 1."""
    called = torch.compile(model.eval(), dynamic=True) if compiled else model.eval()

    @torch.no_grad()
    def encode() -> Tensor:
        found = []
        for batch in batches:
            there = {k: to_device(x, bench.device) for k, x in padded(batch, "embed").items()}
            states = called(**there).last_hidden_state.float()
            mask = there["attention_mask"][..., None]
            found.append(unit((states * mask).sum(1) / mask.sum(1)))
        return torch.cat(found)

    return encode


def padded(batch: MaskedBatch, kind: Kind) -> dict[str, Tensor]:
    """Pad a batch to its longest text, with −100 at positions that are not predicted."""
    sizes, pad = list(batch.sequences.lengths), nn.utils.rnn.pad_sequence
    rows = torch.split(batch.input_ids, sizes)
    found = {
        "input_ids": pad(rows, batch_first=True),
        "attention_mask": pad([torch.ones_like(row) for row in rows], batch_first=True),
    }
    if kind == "mlm":
        wanted = torch.full_like(batch.input_ids, -100)
        wanted[batch.target_positions] = batch.labels
        split = torch.split(wanted, sizes)
        found["labels"] = pad(split, batch_first=True, padding_value=-100)
    elif kind == "classify":
        found["labels"] = batch.labels
    return found
