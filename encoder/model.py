"""The encoder: embeddings → blocks → one vector for each token, which depends on all others.

    output = encoder(**batch)

The two steps of a packed batch can be run apart:

    x = encoder.embed(input_ids, token_type_ids, sequences)
    output = encoder.run_blocks(x, sequences)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder.attention_mask import AttentionMask
from plainformer.encoder.build import build_blocks, build_distance_bias, build_embeddings
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.flops import encoder_flops
from plainformer.encoder.init import initialise
from plainformer.encoder.inputs import Ids, Mask, PackedInputs, Vectors, pack_inputs
from plainformer.encoder.linear import Linear
from plainformer.encoder.ops import Backend, use_backend
from plainformer.encoder.packing import PaddedSequences, Sequences
from plainformer.encoder.positions import RotaryAngles, rotary_angles
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.soft_prompt import SoftPrompt


@dataclass(frozen=True)
class EncoderOutput:
    """The output of `Encoder`, in the layout of its inputs: padded, or packed."""

    last_hidden_state: Float[Tensor, "*tokens hidden"]
    pooler_output: Float[Tensor, "batch hidden"] | None = None
    hidden_states: tuple[Float[Tensor, "*tokens hidden"], ...] | None = None
    """The embeddings, then the output of each block (of the last, after the final norm)."""
    attentions: tuple[Float[Tensor, "batch heads seq seq"], ...] | None = None
    read: Int[Tensor, " read"] | None = None
    """Indices of the packed tokens that `last_hidden_state` has; None: all."""

    def unpack(self, inputs: PackedInputs) -> "EncoderOutput":
        """Return a packed output in the layout of the inputs."""
        pooled, states, weights = self.pooler_output, self.hidden_states, self.attentions
        return EncoderOutput(
            inputs.unpack(self.last_hidden_state),
            None if pooled is None else inputs.unpack_rows(pooled),
            None if states is None else tuple(map(inputs.unpack, states)),
            None if weights is None else tuple(map(inputs.unpack_attention, weights)),
            self.read,
        )


class Pooler(nn.Module):
    """tanh(W x + b) of the first token of each sequence: BERT's vector of a text."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.dense = Linear(hidden_size, hidden_size)

    def forward(self, x: Float[Tensor, "sequences hidden"]) -> Float[Tensor, "sequences hidden"]:
        """Compute the vector of each sequence from that of its first token."""
        return torch.tanh(self.dense(x))


class Encoder(PretrainedModel):
    """Embeddings and a stack of blocks, as `config` describes them, newly initialised.

    `pooler`: whether to add BERT's pooler; by default where `config.classifier_head` needs it.
    `dropout`: dropout of vectors, instead of the config's.
    """

    class_name = "Encoder"

    def __init__(
        self,
        config: EncoderConfig,
        backend: Backend = "fused",
        pooler: bool | None = None,
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        config = config if dropout is None else config.with_dropout(dropout)
        self.config = config
        self.backend = backend
        self.embeddings = build_embeddings(config)
        self.distance_bias = build_distance_bias(config)
        self.blocks, self.final_norm = build_blocks(config)
        has_pooler = config.classifier_head == "pooler" if pooler is None else pooler
        self.pooler = Pooler(config.hidden_size) if has_pooler else None
        self.soft_prompt: SoftPrompt | None = None
        initialise(self, config)

    @property
    def base(self) -> "Encoder":
        """Return this encoder."""
        return self

    @property
    def prompt_length(self) -> int:
        """Return the number of positions that a soft prompt takes before each text."""
        return 0 if self.soft_prompt is None else self.soft_prompt.length

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
        read: Int[Tensor, " read"] | None = None,
    ) -> EncoderOutput:
        """Encode a padded batch, or, when `sequences` is given, a packed one.

        `PaddedSequences` let a batch stay padded, with static shapes, for `torch.export`.
        `attention_mask` is 1 where there is a token (default: everywhere). `inputs_embeds` replace
        the vectors of `input_ids` in the token table: positions and segments are added to them.
        The plain form computes attention weights, whichever the backend. `read`: see `run_blocks`.
        """
        inputs = pack_inputs(input_ids, attention_mask, token_type_ids, sequences, inputs_embeds)
        if read is not None and (inputs.packing is not None or inputs.sequences.positions.ndim > 1):
            raise UserError("read selects tokens of a packed batch: give it with sequences alone")
        x = self.embed(
            inputs.input_ids, inputs.token_type_ids, inputs.sequences, inputs.inputs_embeds
        )
        output = self.run_blocks(x, inputs.sequences, output_hidden_states, output_attentions, read)
        return output.unpack(inputs)

    def embed(
        self,
        input_ids: Int[Tensor, "*tokens"] | None,
        token_type_ids: Int[Tensor, "*tokens"] | None,
        sequences: Sequences | PaddedSequences,
        inputs_embeds: Float[Tensor, "*tokens size"] | None = None,
    ) -> Float[Tensor, "*tokens hidden"]:
        """Compute the embeddings of a packed batch: the input of the first block."""
        with use_backend(self.backend, override=False):
            x: Tensor = self.embeddings(
                input_ids, token_type_ids, sequences, inputs_embeds, self.prompt_length
            )
        return x

    def run_blocks(
        self,
        x: Float[Tensor, "*tokens hidden"],
        sequences: Sequences | PaddedSequences,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        read: Int[Tensor, " read"] | None = None,
    ) -> EncoderOutput:
        """Compute the packed output from the embeddings of a packed batch.

        The last block computes the tokens `read` alone, from all keys and values, and no pooler is
        run, unless hidden states or attention weights are requested, or there is a soft prompt.
        """
        hidden_states, attentions, prompt, longer = [], [], self.soft_prompt, sequences
        read = None if output_hidden_states or output_attentions or prompt is not None else read
        with use_backend(self.backend, override=False):
            if prompt is not None:
                x, longer = prompt.insert(x, sequences, self.embeddings)
            layer_inputs = self._layer_inputs(longer)
            for layer in range(self.config.num_hidden_layers):
                block = self.blocks[0 if self.config.share_layers else layer]
                mask, rotary = layer_inputs[self.config.is_local(layer)]
                if output_hidden_states:
                    hidden_states.append(x)
                is_last = layer == self.config.num_hidden_layers - 1
                x, weights = block(x, mask, rotary, output_attentions, read if is_last else None)
                attentions.append(weights)
            x = self.final_norm(x)
            hidden_states.append(x)
            if prompt is not None:
                hidden_states = [prompt.remove(h, longer, sequences) for h in hidden_states]
                attentions = [prompt.remove_weights(w) for w in attentions]
                x = hidden_states[-1]
            pooler = self.pooler if read is None else None
            pooled = None if pooler is None else pooler(sequences.first(x))
        states = tuple(hidden_states) if output_hidden_states else None
        weights = tuple(attentions) if output_attentions else None
        return EncoderOutput(x, pooled, states, weights, read)

    def _layer_inputs(
        self, sequences: Sequences | PaddedSequences
    ) -> dict[bool, tuple[AttentionMask, RotaryAngles | None]]:
        """Compute the mask and the rotary angles of global layers (False) and local ones (True)."""
        config, positions = self.config, sequences.positions
        bias = None if self.distance_bias is None else self.distance_bias(sequences.max_length)
        masks = AttentionMask(sequences, None, bias), AttentionMask(sequences, config.window, bias)
        if config.positions != "rotary":
            return {False: (masks[0], None), True: (masks[1], None)}
        bases = config.global_rope_theta, config.local_rope_theta
        rotary = [rotary_angles(positions, config.head_size, base) for base in bases]
        return {False: (masks[0], rotary[0]), True: (masks[1], rotary[1])}

    def flops_per_token(self, seq_len: int) -> float:
        """Count the operations of a forward pass, per token of a text of `seq_len` tokens.

        `encoder.flops` lists the counted operations. A training step costs three times as much.
        """
        return encoder_flops(self.config, Sequences.of([seq_len])) / seq_len
