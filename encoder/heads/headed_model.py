"""Put a head on an encoder.

    tagger = TokenClassifier(config, tags)              # on an encoder of its own

Two heads can share an encoder. Its gradients add up; each head saves its parameters.

    encoder = Encoder(config)
    tagger = TokenClassifier(encoder, tags)
    classifier = SequenceClassifier(encoder, labels)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from plainformer.base import UserError
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.heads.parts import Select
from plainformer.encoder.init import initialise
from plainformer.encoder.inputs import Ids, Mask, PackedInputs, Vectors, pack_inputs
from plainformer.encoder.model import Encoder
from plainformer.encoder.ops import Backend
from plainformer.encoder.packing import PaddedSequences, Sequences
from plainformer.encoder.pretrained import PretrainedModel


@dataclass(frozen=True)
class HeadedOutput:
    """The output of a headed model with the hidden states or attention weights of its encoder."""

    logits: Any
    hidden_states: tuple[Float[Tensor, "*tokens hidden"], ...] | None = None
    attentions: tuple[Float[Tensor, "batch heads seq seq"], ...] | None = None


class HeadedModel(PretrainedModel):
    """A head on an encoder: a given one, or a new one of a config.

    `dropout`: of a new encoder, and of its head, instead of the config's dropout of vectors.
    `backend`: by default the encoder's.
    """

    encoder: Encoder
    has_pooler: ClassVar[bool | None] = False
    """True where the head reads the encoder's pooler; None: as `config.classifier_head` says."""
    apply_head: Callable[..., Any]
    """`apply_head(encoded, inputs, **options)` computes the outputs from a packed `EncoderOutput`,
    and returns them in the layout of the `PackedInputs`."""

    def __init__(
        self,
        encoder: Encoder | EncoderConfig,
        dropout: float | None = None,
        backend: Backend | None = None,
    ) -> None:
        super().__init__()
        self.is_shared = isinstance(encoder, Encoder)
        if isinstance(encoder, EncoderConfig):
            encoder = Encoder(encoder, backend or "fused", self.has_pooler, dropout)
        elif dropout is not None:
            raise UserError("a given encoder has its dropout: pass dropout to Encoder instead")
        elif encoder.pooler is None and self.needs_pooler(encoder.config):
            raise UserError("the encoder has no pooler, which this head needs: make it with one")
        self.encoder, self.config = encoder, encoder.config
        self.backend = backend or encoder.backend

    @classmethod
    def needs_pooler(cls, config: EncoderConfig) -> bool:
        """Tell whether the head reads the output of the encoder's pooler."""
        return config.classifier_head == "pooler" if cls.has_pooler is None else cls.has_pooler

    @property
    def base(self) -> Encoder:
        """Return the encoder under the head."""
        return self.encoder

    @property
    def blocks(self) -> nn.ModuleList:
        """Return the blocks of the encoder."""
        return self.encoder.blocks

    def initialise(self) -> None:
        """Initialise the parameters, but not those of a given encoder."""
        names = [name for name, _ in self.named_parameters() if not name.startswith("encoder.")]
        initialise(self, self.config, only=names if self.is_shared else None)

    def reads(self, inputs: PackedInputs, **options: Any) -> Select | None:
        """Return the function that selects the tokens the head reads; None: all tokens."""
        return None

    def forward(
        self,
        input_ids: Ids | None = None,
        attention_mask: Mask | None = None,
        token_type_ids: Ids | None = None,
        sequences: Sequences | PaddedSequences | None = None,
        *,
        inputs_embeds: Vectors | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        **options: Any,
    ) -> Any:
        """Compute the head's outputs for a padded batch, or, given `sequences`, a packed one.

        The arguments are those of `Encoder`, and the `options` those of `apply_head`. Returns a
        `HeadedOutput` where hidden states or attention weights are requested.
        """
        inputs = pack_inputs(input_ids, attention_mask, token_type_ids, sequences, inputs_embeds)
        encoded = self.encoder(
            inputs.input_ids,
            token_type_ids=inputs.token_type_ids,
            sequences=inputs.sequences,
            inputs_embeds=inputs.inputs_embeds,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            read=self._read(inputs, options),
        )
        logits = self.apply_head(encoded, inputs, **options)
        if not (output_hidden_states or output_attentions):
            return logits
        encoded = encoded.unpack(inputs)
        return HeadedOutput(logits, encoded.hidden_states, encoded.attentions)

    def _read(self, inputs: PackedInputs, options: dict[str, Any]) -> Int[Tensor, " read"] | None:
        """Return the indices of the packed tokens that the head reads; None: all."""
        select, positions = self.reads(inputs, **options), inputs.sequences.positions
        if select is None or positions.ndim == 2:  # a padded batch has no row of tokens
            return None
        return select(torch.arange(positions.shape[0], device=positions.device))


def compute_all_tokens(encoder: Encoder) -> RemovableHandle:
    """Make an encoder compute the vectors of all tokens, for hooks, until the handle is removed."""

    def ask(_: nn.Module, inputs: Any, options: dict[str, Any]) -> Any:
        return inputs, {**options, "read": None}

    return encoder.register_forward_pre_hook(ask, with_kwargs=True)
