"""Encode a text as one vector, close to those of texts with the same meaning.

The vectors of the tokens are pooled, then optionally projected and scaled to length 1, as the
folder of a sentence-transformers model declares (Reimers & Gurevych 2019, arXiv:1908.10084). For a
text of n tokens with the vectors h₁ … hₙ:

    cls                    h₁
    lasttoken              hₙ
    max                    maxᵢ hᵢ, each number on its own
    mean                   Σ hᵢ / n
    mean_sqrt_len_tokens   Σ hᵢ / √n
    weightedmean           Σ i hᵢ / Σ i
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plainformer.base import UserError, find_folder
from plainformer.encoder import weights
from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.heads.headed_model import HeadedModel
from plainformer.encoder.heads.parts import Select, pool, take
from plainformer.encoder.inputs import PackedInputs
from plainformer.encoder.linear import Linear
from plainformer.encoder.model import Encoder, EncoderOutput
from plainformer.encoder.packing import PaddedSequences, Sequences
from plainformer.encoder.static import StaticEncoder
from plainformer.encoder.weights.sentence import read_layout, read_weights, write_layout
from plainformer.encoder.weights.sentence_layout import Dense, Mode, Normalize, SentenceLayout
from plainformer.encoder.weights.static import read_table, write_table


class Projection(nn.Module):
    """A Dense of sentence-transformers: act(W x + b), with an optional residual connection."""

    def __init__(self, layer: Dense) -> None:
        super().__init__()
        self.linear = Linear(layer.in_features, layer.out_features, bias=layer.bias)
        self.act = getattr(nn, layer.activation)()
        self.use_residual = layer.use_residual
        self.residual: nn.Module = nn.Identity()
        if layer.use_residual and layer.in_features != layer.out_features:
            self.residual = Linear(layer.in_features, layer.out_features, bias=False)

    def forward(self, x: Float[Tensor, "texts size"]) -> Float[Tensor, "texts out"]:
        """Project each vector."""
        x = x.to(self.linear.weight.dtype)
        y: Tensor = self.act(self.linear(x))
        return y + self.residual(x) if self.use_residual else y


class UnitLength(nn.Module):
    """Scale each vector to length 1: x / |x|. Half precision would round that length, too."""

    def forward(self, x: Float[Tensor, "texts size"]) -> Float[Tensor, "texts size"]:
        """Scale each vector."""
        single = x.to(torch.promote_types(x.dtype, torch.float32))
        return torch.nn.functional.normalize(single, dim=-1)


class SentenceEncoder(HeadedModel):
    """An encoder with the pooling and projection that give one vector per text.

    Raises `UserError` where a Dense layer expects vectors of another size.
    """

    def __init__(
        self, encoder: Encoder | EncoderConfig, layout: SentenceLayout | None = None
    ) -> None:
        super().__init__(encoder)
        self.layout = SentenceLayout() if layout is None else layout
        size = len(self.layout.pooling) * self.config.hidden_size
        for layer in self.layout.layers:
            if isinstance(layer, Dense):
                if layer.in_features != size:
                    raise UserError(
                        f"a Dense layer expects vectors of size {layer.in_features}, but gets size "
                        f"{size} from {' and '.join(self.layout.pooling)}"
                    )
                size = layer.out_features
        self.size = min(size, self.layout.truncate_dim or size)
        """The size of a vector."""
        self.layers = nn.Sequential(
            *(
                Projection(layer) if isinstance(layer, Dense) else UnitLength()
                for layer in self.layout.layers
            )
        )

    def reads(self, inputs: PackedInputs, **options: Any) -> Select | None:
        """Return the function that selects the pooled token of each text; None: all are pooled."""
        if self.layout.pooling == ("cls",) and not options.get("skip"):
            return inputs.sequences.first
        return inputs.sequences.last if self.layout.pooling == ("lasttoken",) else None

    def apply_head(
        self, encoded: EncoderOutput, inputs: PackedInputs, skip: int = 0
    ) -> Float[Tensor, "batch size"]:
        """Compute one vector for each text; zeros for a row without tokens.

        The first `skip` tokens of each text, fewer than it has, are not pooled.
        """
        # (*tokens, hidden) → (texts, modes · hidden) → (texts, size)
        if select := self.reads(inputs, skip=skip):
            x = take(encoded, inputs, select)
        else:
            x = pool_all(encoded.last_hidden_state, inputs.sequences, self.layout.pooling, skip)
        return inputs.unpack_rows(self.layers(x)[:, : self.size])

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the files of sentence-transformers, with the encoder or its table of vectors."""
        if isinstance(self.encoder, StaticEncoder):
            self.save_files(Path(folder))
            write_table(self.encoder.embeddings.tokens.weight, Path(folder))
        else:
            super().save_pretrained(folder)

    @property
    def saved(self) -> Encoder:
        """Return the encoder."""
        return self.encoder

    def save_files(self, folder: Path) -> None:
        """Write the files of sentence-transformers; raise `UserError` where that fails."""
        # The weights come last: a folder without them is not taken for a model.
        write_layout(folder, self.layout, self.config.hidden_size, self.layers.state_dict())

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        new_head: bool = False,
        *,
        add: weights.AddTensors | None = None,
        **settings: Any,
    ) -> "SentenceEncoder":
        """Load the model in `folder`; a bare encoder gets mean pooling and length 1.

        `pooling` and `normalise` among the `settings` override those of the folder; the others are
        passed to the encoder. Raises `UserError` for a folder without such a model, or with
        settings that are not supported.
        """
        folder = find_folder(folder)
        layout = read_layout(folder) or SentenceLayout()
        chosen = changed(layout, settings.pop("pooling", None), settings.pop("normalise", None))
        tensors = read_weights(folder, layout)
        place = folder / layout.encoder
        if layout.is_static:
            encoder: Encoder = StaticEncoder(read_table(place))
        else:
            encoder = Encoder.from_pretrained(place, add=add, **settings)
        try:
            model = cls(encoder, chosen)
        except UserError as error:
            raise UserError(f"{folder}: {error}") from None
        model.layers.load_state_dict(tensors)
        return model.eval()


def changed(layout: SentenceLayout, pooling: Mode | None, normalise: bool | None) -> SentenceLayout:
    """Return the layout with another pooling, with or without the final scaling."""
    if pooling is not None:
        layout = replace(layout, pooling=(pooling,))
    if normalise is None or normalise == (layout.layers[-1:] == (Normalize(),)):
        return layout
    if normalise:
        layers, folders = (*layout.layers, Normalize()), (*layout.folders, "")
    else:
        layers, folders = layout.layers[:-1], layout.folders[:-1]
    return replace(layout, layers=layers, folders=folders)


def pool_all(
    x: Float[Tensor, "*tokens hidden"],
    sequences: Sequences | PaddedSequences,
    modes: Sequence[Mode],
    skip: int = 0,
) -> Float[Tensor, "sequences size"]:
    """Pool each sequence with every mode, concatenated, without the first `skip` tokens."""
    return torch.cat([pool_one(x, sequences, mode, skip) for mode in modes], -1)


def pool_one(
    x: Float[Tensor, "*tokens hidden"],
    sequences: Sequences | PaddedSequences,
    mode: Mode,
    skip: int,
) -> Float[Tensor, "sequences hidden"]:
    """Pool each sequence; skipped tokens still count as positions in `weightedmean`."""
    if mode == "lasttoken":
        return sequences.last(x)
    if mode in ("cls", "mean") and not skip:
        return pool(x, sequences, "cls" if mode == "cls" else "mean")
    position = sequences.positions[..., None]  # (*tokens, 1)
    if mode == "max":
        return sequences.max(x.masked_fill(position < skip, -torch.inf))
    kept = position == skip if mode == "cls" else position >= skip
    weight = kept * (position + 1 if mode == "weightedmean" else 1)
    weight = weight.to(torch.promote_types(x.dtype, torch.float32))  # bf16 counts to 256 alone
    total = sequences.sum(weight)  # (sequences, 1)
    divisor = total.sqrt() if mode == "mean_sqrt_len_tokens" else total
    return (sequences.sum(x * weight) / divisor).to(x.dtype)
