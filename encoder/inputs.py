"""Pack the inputs of a model, and return its outputs in the layout of the inputs.

A batch comes padded, `(batch, seq)`, or packed, `(tokens,)` with its `sequences`. Everything
between works on the packed form. `TracedSequences` pack a padded batch within a traced graph.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from plainformer.base import UserError
from plainformer.encoder.packing import Packing, PaddedSequences, Sequences
from plainformer.encoder.traced import TracedSequences

Ids = Int[Tensor, "batch seq"] | Int[Tensor, " tokens"]
Mask = Bool[Tensor, "batch seq"] | Int[Tensor, "batch seq"]
Vectors = Float[Tensor, "batch seq size"] | Float[Tensor, "tokens size"]


@dataclass(frozen=True)
class PackedInputs:
    """The real tokens of a batch in one row, as ids or as vectors."""

    input_ids: Int[Tensor, "*tokens"] | None
    inputs_embeds: Float[Tensor, "*tokens size"] | None
    token_type_ids: Int[Tensor, "*tokens"] | None
    sequences: Sequences | PaddedSequences
    packing: Packing | TracedSequences | None
    """The packing of a padded batch; None: the batch came with `sequences`."""

    def unpack(self, x: Tensor, padding: float = 0.0) -> Tensor:
        """Return rows of tokens, `(tokens, …)`, in the layout of the batch, `padding` elsewhere."""
        if self.packing is not None:
            return self.packing.unpack(x, padding)
        if isinstance(self.sequences, PaddedSequences):
            return self.sequences.fill_padding(x, padding)
        return x

    def unpack_rows(self, x: Tensor) -> Tensor:
        """Return rows of sequences, `(sequences, …)`, in the order of the batch."""
        return x if self.packing is None else self.packing.unpack_rows(x)

    def unpack_attention(self, weights: Tensor) -> Tensor:
        """Return attention weights in the layout of the batch."""
        return weights if self.packing is None else self.packing.unpack_attention(weights)


def pack_inputs(
    input_ids: Ids | None,
    attention_mask: Mask | None,
    token_type_ids: Ids | None,
    sequences: Sequences | PaddedSequences | None,
    inputs_embeds: Vectors | None = None,
) -> PackedInputs:
    """Pack a padded batch; leave one with `sequences`, which need no mask, as it is.

    Raises `UserError` unless there are either ids or vectors, and the others have their shape.
    """
    tokens = input_ids if inputs_embeds is None else inputs_embeds
    if tokens is None or (input_ids is not None and inputs_embeds is not None):
        raise UserError("a model needs either input_ids or inputs_embeds")
    shape = tokens.shape if inputs_embeds is None else tokens.shape[:-1]
    for name, x in (("attention_mask", attention_mask), ("token_type_ids", token_type_ids)):
        if x is not None and x.shape != shape:
            raise UserError(f"{name} {tuple(x.shape)} must have the shape of the ids, {(*shape,)}")
    if attention_mask is not None and sequences is not None:
        raise UserError("sequences say where the tokens are: leave out attention_mask")
    is_padded = len(shape) == 2
    if isinstance(sequences, TracedSequences) and is_padded:
        packing: Packing | TracedSequences = sequences
    elif sequences is not None:
        return PackedInputs(input_ids, inputs_embeds, token_type_ids, sequences, None)
    else:
        if not is_padded:
            raise UserError("input_ids are (batch, seq); packed ones, (tokens,), need sequences")
        if attention_mask is None:
            attention_mask = torch.ones(shape, dtype=torch.bool, device=tokens.device)
        packing = Packing.of(attention_mask)

    def pack(x: Tensor | None) -> Tensor | None:
        return None if x is None else packing.pack(x)

    return PackedInputs(
        pack(input_ids), pack(inputs_embeds), pack(token_type_ids), packing.sequences, packing
    )
