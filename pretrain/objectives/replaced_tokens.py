"""Replaced-token detection: which tokens of a text did another model put there?

    generator:       −log p(token | masked text), at the masked places
    discriminator:   −log p(replaced or not | text with the generator's draws), at every place
    loss = generator + 50 · discriminator            (ELECTRA, Clark et al. 2020, arXiv:2003.10555)

The draws are samples, no gradient passes through them, and a draw that hits the original counts as
original. The generator is narrower; the two share the embeddings of tokens, places and segments.
Only the discriminator goes on to fine-tuning.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from plainformer.base import UserError, find_folder
from plainformer.encoder import Discriminator, EncoderConfig, MaskedLM
from plainformer.pretrain.batch import MaskedBatch
from plainformer.pretrain.objectives.cross_entropy import cross_entropy_loss
from plainformer.training import Loss, Term, weighted_sum

DISCRIMINATOR_WEIGHT = 50.0


class Electra(nn.Module):
    """A generator and a discriminator, over the same embeddings."""

    def __init__(self, discriminator: Discriminator, generator: MaskedLM) -> None:
        super().__init__()
        self.discriminator, self.generator = discriminator, generator
        shared, own = self.discriminator.encoder.embeddings, self.generator.encoder.embeddings
        own.tokens, own.positions, own.segments = shared.tokens, shared.positions, shared.segments

    @property
    def blocks(self) -> list[nn.Module]:
        """Return the blocks of both models."""
        return [*self.generator.blocks, *self.discriminator.blocks]

    @classmethod
    def new(cls, config: EncoderConfig, share: float) -> "Electra":
        """A fresh one, with a generator of `share` of the width."""
        return cls(Discriminator(config), MaskedLM(narrower(config, share)))

    @classmethod
    def from_pretrained(cls, folder: Path) -> "Electra":
        """What `save_pretrained` left; `UserError` where there is no generator."""
        folder = find_folder(folder)
        if not (folder / "generator").is_dir():
            raise UserError(f"{folder} has no generator/ beside it, as rtd leaves one")
        discriminator = Discriminator.from_pretrained(folder)
        generator = MaskedLM.from_pretrained(folder / "generator")
        if generator.config.token_size != discriminator.config.token_size:
            raise UserError(f"{folder}: generator and discriminator have embeddings of two sizes")
        return cls(discriminator, generator)

    def save_pretrained(self, folder: Path) -> None:
        """The discriminator becomes the model of `folder`, the generator that of `generator/`."""
        self.discriminator.save_pretrained(folder)
        self.generator.save_pretrained(folder / "generator")


def narrower(config: EncoderConfig, share: float) -> EncoderConfig:
    """The same depth and the same embeddings; of heads and widths only this `share`."""
    heads = max(1, int(share * config.num_attention_heads))
    hidden = heads * max(1, int(share * config.hidden_size / heads))
    return replace(
        config,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=max(1, int(share * config.intermediate_size)),
        embedding_size=0 if hidden == config.token_size else config.token_size,
    )


@dataclass(frozen=True)
class ReplacedTokens:
    """The loss of both; the generator never draws one of the special tokens."""

    special_ids: frozenset[int]

    def __call__(self, model: Electra, batch: MaskedBatch) -> Loss:
        """Metrics of the discriminator: which share of the tokens it judges rightly
        ("rtd_accuracy"), which share is replaced, and which is replaced and found.
        """
        targets = batch.target_positions
        logits = model.generator(batch.input_ids, sequences=batch.sequences, at=targets)
        drawn = self.draw(logits.detach())
        shown = batch.input_ids.index_copy(0, targets, drawn)
        replaced = torch.zeros_like(shown, dtype=torch.bool)
        replaced[targets] = drawn != batch.labels

        scores = model.discriminator(shown, sequences=batch.sequences).float()
        total = F.binary_cross_entropy_with_logits(scores, replaced.float(), reduction="sum")
        found = scores.detach() > 0
        metrics = {
            "accuracy": (found == replaced).sum(),
            "replaced": replaced.sum(),
            "found": (found & replaced).sum(),
        }
        judged = Loss(total, batch.num_tokens, metrics)
        counts = batch.counts
        return weighted_sum(
            {
                "mlm": Term(cross_entropy_loss(logits, batch.labels), counts.targets),
                "rtd": Term(judged, counts.tokens, DISCRIMINATOR_WEIGHT),
            }
        )

    def draw(self, logits: torch.Tensor) -> torch.Tensor:
        """One token for each row, from softmax(logits), by torch's generator."""
        special = torch.tensor(sorted(self.special_ids), device=logits.device)
        chances = logits.float().index_fill(-1, special, float("-inf")).softmax(-1)
        return chances.multinomial(1).squeeze(1)
