"""Predict the tokens at [MASK]: softmax(logits) there, the most probable ones first."""

from dataclasses import dataclass

import torch

from plainformer.base import UserError
from plainformer.encoder import MaskedLM, check_finite
from plainformer.tokenizer import Tokenizer, check_text


@dataclass(frozen=True)
class Guess:
    """A token and its predicted probability."""

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
            f"the text has more than the {longest} tokens that the model takes: shorten it around "
            "the mask"
        )
    is_mask = batch["input_ids"] == tokenizer.mask_id
    if not is_mask.any():
        mask = tokenizer.token(tokenizer.mask_id)
        raise UserError(
            f"there is no {mask} in {text!r:.60}: write one where a word is to be predicted"
        )
    device = next(model.parameters()).device
    inputs = {name: tensor.to(device) for name, tensor in batch.items()}
    logits = model(**inputs, target_positions=is_mask.to(device)).float()  # (masks, vocab)
    check_finite(logits)
    probabilities = logits.softmax(-1)
    # The model's vocabulary may be padded to a round number: padding is no token.
    best = probabilities[:, : tokenizer.vocab_size].topk(min(top, tokenizer.vocab_size), dim=-1)
    return [
        [Guess(tokenizer.token(i), p) for i, p in zip(ids, values, strict=True)]
        for ids, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
