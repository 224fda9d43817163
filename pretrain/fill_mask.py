"""What the model expects at [MASK]: softmax(logits) there, the most probable tokens first."""

from dataclasses import dataclass

import torch

from plainformer.base import UserError
from plainformer.encoder import MaskedLM, check_finite
from plainformer.tokenizer import Tokenizer, check_text


@dataclass(frozen=True)
class Guess:
    """A token, and how probable the model holds it."""

    token: str
    probability: float


@torch.no_grad()
def fill_mask(model: MaskedLM, tokenizer: Tokenizer, text: str, top: int = 5) -> list[list[Guess]]:
    """Predict the `top` tokens for each [MASK] of `text`, in order.

    Raises `UserError` for a text without one, and for one that is longer than the model accepts,
    since cutting it would lose masks or context.
    """
    check_text(text)
    if top < 1:
        raise UserError(f"top must be at least 1, not {top}")
    tokenizer.check_vocabulary(model.config.vocab_size)
    longest = model.config.max_position_embeddings
    batch = tokenizer.batch([text], max_length=longest + 1)
    if batch["input_ids"].shape[1] > longest:
        raise UserError(
            f"the text has more than the {longest} tokens that the model takes: keep what stands "
            "around the mask"
        )
    at = batch["input_ids"] == tokenizer.mask_id
    if not at.any():
        mask = tokenizer.token(tokenizer.mask_id)
        raise UserError(
            f"there is no {mask} in {text!r:.60}: write one where a word is to be guessed"
        )
    device = next(model.parameters()).device
    moved = {name: tensor.to(device) for name, tensor in batch.items()}
    logits = model(**moved, target_positions=at.to(device)).float()
    check_finite(logits)
    probabilities = logits.softmax(-1)
    # A vocabulary may be padded to a round number: what is no token is no guess.
    best = probabilities[:, : tokenizer.vocab_size].topk(min(top, tokenizer.vocab_size), dim=-1)
    return [
        [Guess(tokenizer.token(i), p) for i, p in zip(ids, values, strict=True)]
        for ids, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
