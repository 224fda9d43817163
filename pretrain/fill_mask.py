"""What the model expects at [MASK]: softmax(logits) there, the most probable tokens first."""

from dataclasses import dataclass

import torch

from cellar import UserError
from encoder import MaskedLM
from tokenizer import Tokenizer


@dataclass(frozen=True)
class Guess:
    """A token, and how probable the model holds it."""

    token: str
    probability: float


@torch.no_grad()
def fill_mask(model: MaskedLM, tokenizer: Tokenizer, text: str, top: int = 5) -> list[list[Guess]]:
    """The `top` guesses for each [MASK] of `text`, in order; `UserError` when it has none."""
    batch = tokenizer.batch([text], max_length=model.config.max_position_embeddings)
    at = batch["input_ids"] == tokenizer.mask_id
    if not at.any():
        mask = tokenizer.token(tokenizer.mask_id)
        raise UserError(f"there is no {mask} in {text!r}: write one where a word is to be guessed")
    device = next(model.parameters()).device
    moved = {name: tensor.to(device) for name, tensor in batch.items()}
    probabilities = model(**moved, at=at.to(device)).float().softmax(-1)
    best = probabilities.topk(min(top, model.config.vocab_size), dim=-1)
    return [
        [Guess(tokenizer.token(i), p) for i, p in zip(ids, values, strict=True)]
        for ids, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
