"""Evaluate a model on held-out text under masks that never change, and measure forgetting.

    forgotten = loss on the old text, after − before

Two held-out losses are comparable if objective, tokenizer, text and masks are the same;
held_out.json beside a run has their fingerprints. After the vocabulary grows, losses per token are
not: there are fewer tokens, and a whole word is harder to predict than one of its parts beside the
others. So whole words are masked, the same ones for both vocabularies, and the loss is given per
character:

    nats per character = Σ −log p(token) / Σ characters, over all tokens of the masked words

(For clm that is every token of the text, so it is the text's cross-entropy per character.)
Characters are those of the vocabulary, bytes in a byte-level one. A word that the old vocabulary
cannot spell ([UNK]) is no target of the old model.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from plainformer.base import UserError
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.pretrain.batch import Corruption, MaskedBatch, with_step_counts
from plainformer.pretrain.config import PretrainConfig
from plainformer.pretrain.data import TextSource, fixed_batches
from plainformer.pretrain.masking import Masking
from plainformer.pretrain.objectives import PretrainingObjective
from plainformer.tokenizer import Tokenizer, join_pieces
from plainformer.training import Loss, Objective, evaluate

OLD = "old_"
"""Prefix of the metrics of the old text."""
PER_CHARACTER = "nats_per_character"
BATCH_TOKENS = 2048
"""Tokens of a batch, whatever the batches of training, so that runs are comparable."""


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a model on fixed batches of the held-out text, and of the old text."""

    loss: Objective[Any, MaskedBatch]
    held_out: Mapping[str, Sequence[MaskedBatch]]
    """Prefix of the metrics -> batches."""
    token_metric: str | None
    """The metric whose exponential is the perplexity."""

    @classmethod
    def of(
        cls,
        config: PretrainConfig,
        objective: PretrainingObjective[Any],
        tokenizer: Tokenizer,
        texts: Mapping[str, TextSource],
        per_character: bool,
    ) -> "Evaluation":
        """Make the batches of these texts, given by the prefix of their metrics.

        Raises `UserError` for a text that is too short to have a target.
        """
        loss = objective.held_out_loss(config, tokenizer)
        corrupt = objective.corrupt(Masking.of(tokenizer))
        if per_character:
            loss = PerCharacter.of(tokenizer, loss)
            if "masking" in objective.options:
                corrupt = Masking.of(tokenizer, unit="words")
        held_out = {
            prefix: held_out_batches(config, text, corrupt, objective.predicts_tokens)
            for prefix, text in texts.items()
        }
        return cls(loss, held_out, objective.token_metric)

    def __call__(self, model: PretrainedModel) -> dict[str, float]:
        """Compute the metrics of all texts."""
        found: dict[str, float] = {}
        for prefix, batches in self.held_out.items():
            torch.manual_seed(0)  # a loss that draws samples draws the same ones each time
            metrics = evaluate(model, self.loss, batches)
            if "characters" in metrics:
                metrics[PER_CHARACTER] = metrics["loss"] / metrics.pop("characters")
            if self.token_metric is not None:
                metrics["perplexity"] = math.exp(min(metrics[self.token_metric], 700.0))
            found |= {prefix + name: value for name, value in metrics.items()}
        return found

    @property
    def tokens(self) -> int:
        """Count the tokens of all texts, which an evaluation reads."""
        return sum(batch.num_tokens for batches in self.held_out.values() for batch in batches)

    def fingerprint(self, config: PretrainConfig, tokenizer: Tokenizer) -> dict[str, Any]:
        """Return fingerprints of all that a held-out loss depends on, except the model."""
        digest = hashlib.sha256()
        for batch in self.held_out[""]:
            digest.update(repr(batch.sequences.lengths).encode())
            for tensor in (batch.input_ids, batch.target_positions, batch.labels):
                digest.update(tensor.numpy().tobytes())
        return {
            "objective": config.objective,
            "tokenizer": tokenizer.fingerprint(),
            "batches": digest.hexdigest(),
        }


def held_out_batches(
    config: PretrainConfig, text: TextSource, corrupt: Corruption, predicts_tokens: bool
) -> list[MaskedBatch]:
    """Make the batches of every evaluation; raise `UserError` when there is nothing to measure."""
    size, held_out = max(BATCH_TOKENS, config.max_length), list[MaskedBatch]()
    if any(len(text[block]) for block in range(len(text))):
        held_out = with_step_counts(list(fixed_batches(text, corrupt, size, config.valid_tokens)))
    if not held_out or (predicts_tokens and not held_out[0].counts.targets):
        raise UserError("the held-out text is too short to measure on: hold out a larger share")
    return held_out


@dataclass(frozen=True)
class PerCharacter:
    """A loss of tokens that also counts the characters of the targets ("characters")."""

    loss: Objective[Any, MaskedBatch]
    characters: Int[Tensor, " vocab"]

    @classmethod
    def of(cls, tokenizer: Tokenizer, loss: Objective[Any, MaskedBatch]) -> "PerCharacter":
        """Count the characters of each entry of the tokenizer's vocabulary."""
        sizes = [len(join_pieces(tokenizer, [id])) for id in range(tokenizer.vocab_size)]
        return cls(loss, torch.tensor(sizes))

    def __call__(self, model: PretrainedModel, batch: MaskedBatch) -> Loss:
        """Compute the loss, with the characters as a metric."""
        loss = self.loss(model, batch)
        characters = self.characters.to(batch.labels.device)[batch.labels].sum()
        return loss._replace(metrics={**loss.metrics, "characters": characters})


def forgotten(
    objective: PretrainingObjective[Any], before: Mapping[str, float], after: Mapping[str, float]
) -> tuple[dict[str, float], str]:
    """Compute the gain on the new text and what the old one lost; describe both in a line."""
    name, unit = objective.token_metric or "loss", "nats"
    if PER_CHARACTER in before:
        name, unit = PER_CHARACTER, "nats per character"
    change = {"learned": before[name] - after[name]}
    said = f"new text {before[name]:.3f} → {after[name]:.3f}"
    if OLD + name in before:
        lost = change["forgotten"] = after[OLD + name] - before[OLD + name]
        said += f", old text {before[OLD + name]:.3f} → {after[OLD + name]:.3f}"
        said += f", forgotten {lost:.3f}" if lost > 0 else ", nothing forgotten"
    return change, f"{said} ({unit})"
