"""Compare an exported model with the model itself, on real text: sentences for those without data.

difference(model, exported, batch)      # of the largest output, as a share of it
"""

from typing import Any

import torch
from torch import Tensor

from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch

SENTENCES = (
    "Plain text.",
    "An exported model is trusted when its numbers are those of the model itself.",
    "The naïve façade of the café on Straße 42 didn't survive 1,000,000 visitors!",
    "我们在中国学习语言模型。",
    "unbelievably, 「quoted」 text – with dashes … and an emoji 😀 at the end",
    "x",
)


@torch.no_grad()
def difference(ours: PretrainedModel, exported: PretrainedModel, batch: Batch[Any]) -> float:
    """Return max |o − e| / max(1, largest |o|), over the outputs of a packed batch."""
    inputs = batch.input_ids, None, batch.token_type_ids, batch.sequences
    pairs = zip(tensors(ours(*inputs)), tensors(exported(*inputs)), strict=True)
    found = [(o - e).abs().max() / o.abs().max().clamp_min(1) for o, e in pairs]
    return float(torch.stack(found).max())  # torch keeps a NaN, and Python's max may lose it


def tensors(outputs: Any) -> tuple[Tensor, ...]:
    """Return the outputs of a model as a tuple of tensors."""
    if isinstance(outputs, Tensor):
        return (outputs,)
    return outputs if isinstance(outputs, tuple) else (outputs.last_hidden_state,)
