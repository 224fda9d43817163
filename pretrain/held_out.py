"""What a pretraining run is measured on: held-out text under masks that never change.

Two held-out losses compare where objective, tokenizer, text and masks are the same; `measured_on`
says so by fingerprints, which stand beside the run in held_out.json.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from plainformer.base import UserError
from plainformer.pretrain.batch import Corruption, MaskedBatch, with_step_counts
from plainformer.pretrain.config import PretrainConfig
from plainformer.pretrain.data import TextSource, fixed_batches
from plainformer.tokenizer import Tokenizer

BATCH_TOKENS = 2048
"""not those of a training batch: runs with batches of any size compare"""


def held_out_batches(
    config: PretrainConfig, text: TextSource, corrupt: Corruption
) -> list[MaskedBatch]:
    """What is measured on at every evaluation; `UserError` when nothing of it is asked for."""
    size = max(BATCH_TOKENS, config.max_length)
    held_out = with_step_counts(list(fixed_batches(text, corrupt, size, config.valid_tokens)))
    if config.token_objective and not held_out[0].counts.targets:
        raise UserError("the held-out text is too short to measure on: hold out a larger share")
    return held_out


def measured_on(
    config: PretrainConfig, tokenizer: Tokenizer, held_out: Sequence[MaskedBatch]
) -> dict[str, Any]:
    """What decides a held-out loss, beside the model."""
    digest = hashlib.sha256()
    for batch in held_out:
        digest.update(repr(batch.sequences.lengths).encode())
        for tensor in (batch.input_ids, batch.target_positions, batch.labels):
            digest.update(tensor.numpy().tobytes())
    return {
        "objective": config.objective,
        "tokenizer": tokenizer.fingerprint(),
        "batches": digest.hexdigest(),
    }
