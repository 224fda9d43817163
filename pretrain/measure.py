"""What is measured on held-out text at every evaluation, and how much is forgotten.

    forgotten = loss on the old text, after − before

A loss per token says this as long as the vocabulary stays. When it has grown, a word that was four
tokens is one, which is harder to guess than a piece whose neighbours stand beside it, and there are
fewer of them. Then whole words are masked, so that the old model and the new one are asked for the
same words and are shown the same of the others, and the price of these words is put to what no
vocabulary changes:

    nats per character = Σ −log p(token) / Σ characters, over all tokens of the masked words

(For clm that is every token of the text, so it is the text's cross-entropy per character.)
A character is one as the vocabulary writes it: a byte, in a byte-level one. A word that the old
vocabulary cannot spell, [UNK], is never asked of the old model: its price there would be nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from plainformer.encoder import MaskedLM
from plainformer.pretrain import choice
from plainformer.pretrain.batch import MaskedBatch
from plainformer.pretrain.config import PretrainConfig
from plainformer.pretrain.data import TextSource, ordinary_ids
from plainformer.pretrain.held_out import held_out_batches
from plainformer.pretrain.masking import Masking
from plainformer.pretrain.objectives import masked_lm
from plainformer.tokenizer import Tokenizer, join_pieces
from plainformer.training import Loss, Objective, evaluate

OLD = "old_"
"""what stands before the name of a metric of the old text"""
PER_CHARACTER = "nats_per_character"


@dataclass(frozen=True)
class Measure:
    """Measures a model on fixed batches: on the text, and on the old text where there is some."""

    objective: Objective[choice.Model, MaskedBatch]
    held_out: Mapping[str, Sequence[MaskedBatch]]
    """by what stands before the metrics' names"""
    of_token: str | None
    """the metric that perplexity is of"""

    @classmethod
    def of(
        cls,
        config: PretrainConfig,
        tokenizer: Tokenizer,
        texts: Mapping[str, TextSource],
        per_character: bool,
    ) -> "Measure":
        """What the run's objective comes to on these texts, by the prefix of their metrics.

        Raises `UserError` for a text of which nothing is asked for.
        """
        objective, hide = choice.measure(config, tokenizer), choice.hide_alike(config, tokenizer)
        if per_character:
            objective = PerCharacter.of(tokenizer)
            if config.token_objective != "clm":
                hide = Masking(tokenizer.mask_id, ordinary_ids(tokenizer), unit="words")
        held_out = {k: held_out_batches(config, text, hide) for k, text in texts.items()}
        return cls(objective, held_out, choice.token_loss(config))

    def __call__(self, model: choice.Model) -> dict[str, float]:
        """The metrics of all texts."""
        found: dict[str, float] = {}
        for prefix, batches in self.held_out.items():
            torch.manual_seed(0)  # what an objective draws is the same each time
            metrics = evaluate(model, self.objective, batches)
            if "characters" in metrics:
                metrics[PER_CHARACTER] = metrics["loss"] / metrics.pop("characters")
            if self.of_token is not None:
                metrics["perplexity"] = math.exp(min(metrics[self.of_token], 700.0))
            found |= {prefix + name: value for name, value in metrics.items()}
        return found


@dataclass(frozen=True)
class PerCharacter:
    """Masked language modelling; "characters" are those of the tokens that are asked for."""

    characters: Int[Tensor, " vocab"]

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "PerCharacter":
        """Counted as this tokenizer's vocabulary is written."""
        return cls(
            torch.tensor([len(join_pieces(tokenizer, [id])) for id in range(tokenizer.vocab_size)])
        )

    def __call__(self, model: MaskedLM, batch: MaskedBatch) -> Loss:
        """The loss of `masked_lm`."""
        loss = masked_lm(model, batch)
        characters = self.characters.to(batch.labels.device)[batch.labels].sum()
        return loss._replace(metrics={**loss.metrics, "characters": characters})


def compared(config: PretrainConfig, metrics: Mapping[str, float]) -> tuple[str, str]:
    """The metric in which before and after are compared, and its unit."""
    if PER_CHARACTER in metrics:
        return PER_CHARACTER, "nats per character"
    return choice.token_loss(config) or "loss", "nats"


def forgotten(
    config: PretrainConfig, before: Mapping[str, float], after: Mapping[str, float]
) -> tuple[dict[str, float], str]:
    """How much was learned of the new text and forgotten of the old, in numbers and in words."""
    name, unit = compared(config, before)
    change = {"learned": before[name] - after[name]}
    said = f"new text {before[name]:.3f} → {after[name]:.3f}"
    if OLD + name in before:
        lost = change["forgotten"] = after[OLD + name] - before[OLD + name]
        said += f", old text {before[OLD + name]:.3f} → {after[OLD + name]:.3f}"
        said += f", forgotten {lost:.3f}" if lost > 0 else ", nothing forgotten"
    return change, f"{said} ({unit})"
