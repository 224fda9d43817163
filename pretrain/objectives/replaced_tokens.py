"""Replaced-token detection: find the tokens of a text that another model has replaced.

    generator:       −log p(token | masked text), at the masked positions
    discriminator:   −log p(replaced or not | text with the generator's draws), at every position
    loss = generator + 50 · discriminator            (ELECTRA, Clark et al. 2020, arXiv:2003.10555)

The draws are samples without a gradient, and a draw that equals the original counts as original.
The generator is narrower; both share the embeddings of tokens, positions and segments. Only the
discriminator is fine-tuned. The generator's text is masked as BERT's: 80 % [MASK], 10 % random and
10 % unchanged; in the code of ELECTRA 85 % of the chosen tokens become [MASK], and none is random.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from plainformer.base import UserError, find_folder
from plainformer.encoder import Discriminator, Encoder, EncoderConfig, MaskedLM
from plainformer.encoder.flops import discriminator_flops, masked_lm_flops
from plainformer.encoder.packing import to_device
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.pretrain.batch import Corruption, MaskedBatch
from plainformer.pretrain.masking import Masking
from plainformer.pretrain.objectives.base import MASKING_OPTIONS, PretrainingObjective, is_given
from plainformer.pretrain.objectives.cross_entropy import cross_entropy_loss
from plainformer.tokenizer import Tokenizer
from plainformer.training import Loss, Objective, Term, weighted_sum

if TYPE_CHECKING:
    from plainformer.pretrain.config import PretrainConfig

DISCRIMINATOR_WEIGHT = 50.0


class Electra(PretrainedModel):
    """A discriminator, and a generator that shares its embeddings."""

    def __init__(self, discriminator: Discriminator, generator: MaskedLM) -> None:
        super().__init__()
        self.config = discriminator.config
        self.discriminator, self.generator = discriminator, generator
        shared, own = self.discriminator.encoder.embeddings, self.generator.encoder.embeddings
        own.tokens, own.positions, own.segments = shared.tokens, shared.positions, shared.segments

    @property
    def base(self) -> Encoder:
        """Return the encoder of the discriminator, which is the one to fine-tune."""
        return self.discriminator.base

    @property
    def blocks(self) -> list[nn.Module]:
        """Return the blocks of both models."""
        return [*self.generator.blocks, *self.discriminator.blocks]

    @classmethod
    def new(cls, config: EncoderConfig, share: float) -> "Electra":
        """Build both with random weights, the generator with this share of the width."""
        return cls(Discriminator(config), MaskedLM(narrower(config, share)))

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, new_head: bool = False, **settings: Any
    ) -> "Electra":
        """Load both models of a folder; raise `UserError` where there is no generator."""
        folder = find_folder(folder)
        if not (folder / "generator").is_dir():
            raise UserError(f"{folder} has no generator/ beside it, as rtd leaves one")
        discriminator = Discriminator.from_pretrained(folder)
        generator = MaskedLM.from_pretrained(folder / "generator")
        if generator.config.token_size != discriminator.config.token_size:
            raise UserError(f"{folder}: generator and discriminator have embeddings of two sizes")
        return cls(discriminator, generator)

    def save_pretrained(self, folder: str | Path) -> None:
        """Save the discriminator in `folder`, and the generator in its subfolder `generator/`."""
        self.discriminator.save_pretrained(folder)
        self.generator.save_pretrained(Path(folder) / "generator")


def narrower(config: EncoderConfig, share: float) -> EncoderConfig:
    """Scale heads and widths by `share`; keep the depth and the embedding size."""
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
    """The loss of generator and discriminator; special tokens are never drawn."""

    special_ids: frozenset[int]

    def __call__(self, model: Electra, batch: MaskedBatch) -> Loss:
        """Add both losses.

        Metrics of the discriminator: the share of tokens judged correctly ("rtd_accuracy"), the
        share that is replaced, and the share that is replaced and found.
        """
        targets = batch.target_positions
        logits = model.generator(
            batch.input_ids, sequences=batch.sequences, target_positions=targets
        )
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

    def draw(self, logits: Float[Tensor, "targets vocab"]) -> Int[Tensor, " targets"]:
        """Draw a token for each row from softmax(logits)."""
        special = to_device(torch.tensor(sorted(self.special_ids)), logits.device)
        chances = logits.float().index_fill(-1, special, float("-inf")).softmax(-1)
        # As `multinomial`, which waits for a GPU to check the probabilities.
        return (chances / torch.empty_like(chances).exponential_()).argmax(-1)


class ReplacedTokenObjective(PretrainingObjective[Electra]):
    """Detect the tokens that a generator put in place of masked ones."""

    name = "rtd"
    model_class = Electra
    options = MASKING_OPTIONS | {"generator_share"}
    preset_family = "electra"
    token_metric = None

    def check(self, config: "PretrainConfig") -> None:
        """Raise `UserError` for a width of the generator where it is loaded."""
        if config.model is not None and is_given(config, "generator_share"):
            raise UserError(f"generator_share is for a new model: {config.model} has its generator")

    def build(self, config: "PretrainConfig", shape: EncoderConfig) -> Electra:
        """Build generator and discriminator."""
        if shape.architecture != "electra":
            raise UserError(
                f"{config.preset} has no discriminator: for rtd choose a preset electra-tiny … "
                "electra-base"
            )
        return Electra.new(shape, config.generator_share)

    def corrupt(self, masking: Masking) -> Corruption:
        """Mask the tokens for which the generator draws others."""
        return masking

    def loss(
        self, config: "PretrainConfig", tokenizer: Tokenizer
    ) -> Objective[Electra, MaskedBatch]:
        """Return the loss of both models."""
        return ReplacedTokens(tokenizer.special_ids)

    def flops(
        self, model: Electra, loss: Objective[Electra, MaskedBatch], batch: MaskedBatch
    ) -> int:
        """Count three forward passes of each model."""
        sequences, targets = batch.sequences, len(batch.labels)
        generator = masked_lm_flops(model.generator.config, sequences, targets)
        return 3 * (generator + discriminator_flops(model.discriminator.config, sequences))

    def save(self, model: Electra, tokenizer: Tokenizer, folder: Path) -> None:
        """Save both models, each with its tokenizer."""
        super().save(model, tokenizer, folder)
        tokenizer.save(folder / "generator")

    def loss_label(self, config: "PretrainConfig") -> str:
        """Return the label of the loss axis in a run's plot."""
        return f"loss: mlm + {DISCRIMINATOR_WEIGHT:g} · rtd"
