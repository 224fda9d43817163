"""Represent the steps from tokens to one vector in a sentence-transformers folder.

tokens → encoder → pooling → layers: Dense, Normalize … → vector

Static vectors (`StaticEmbedding`) are a table in place of the encoder, pooled by their mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from plainformer.base import UserError

Mode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
Similarity = Literal["cosine", "dot", "euclidean", "manhattan"]
MODES: dict[Mode, str] = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
"""Modes of pooling -> their keys before version 6, in the order of concatenation."""
ACTIVATIONS = {
    "Tanh": "activation",
    "Identity": "linear",
    "ReLU": "activation",
    "GELU": "activation",
    "Sigmoid": "activation",
    "SiLU": "activation",
}
"""Activation classes of torch -> the submodule of `torch.nn.modules` that defines them."""


@dataclass(frozen=True)
class Dense:
    """A dense layer: act(W x + b).

    With `use_residual` the input is added: x, or R x where the sizes differ.
    """

    in_features: int
    out_features: int
    bias: bool = True
    activation: str = "Tanh"
    use_residual: bool = False

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Give the shape of each tensor, by name."""
        matrix = self.out_features, self.in_features
        projected = self.use_residual and self.in_features != self.out_features
        return {
            "linear.weight": matrix,
            **({"linear.bias": (self.out_features,)} if self.bias else {}),
            **({"residual.weight": matrix} if projected else {}),
        }


@dataclass(frozen=True)
class Normalize:
    """Scaling to length 1: x / |x|."""


@dataclass(frozen=True)
class SentenceLayout:
    """The steps from a text to one vector: tokens, pooling, layers, prompts."""

    encoder: str = ""
    """The folder of the encoder and its tokenizer, relative to the model's."""
    is_static: bool = False
    """The tokens are looked up in a table, without special tokens, pooling settings or a limit."""
    max_length: int | None = None
    """Tokens of the longest text; None: the tokenizer's limit."""
    lower_case: bool = False
    """Lower-case texts before they are tokenized."""
    pooling: tuple[Mode, ...] = ("mean",)
    """Modes of pooling, whose vectors are concatenated."""
    include_prompt: bool = True
    """Pool the tokens of the prompt together with those of the text."""
    layers: tuple[Dense | Normalize, ...] = (Normalize(),)
    """The layers after pooling, in order."""
    folders: tuple[str, ...] = ("",)
    """The folder of each layer, relative to the model's."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    """Name -> prompt, a text put before each input."""
    default_prompt: str | None = None
    """The name of the prompt to use when none is chosen."""
    similarity: Similarity = "cosine"
    """The measure by which the model's vectors are meant to be compared."""
    truncate_dim: int | None = None
    """Return only this many numbers, the first, of each vector; None: all."""

    @property
    def prompt(self) -> str:
        """Return the default prompt, empty if there is none."""
        return "" if self.default_prompt is None else self.prompts[self.default_prompt]

    def named(self, name: str) -> str:
        """Return the prompt of this name; none for an empty name.

        Raises:
            UserError: there is no such prompt.
        """
        if name and name not in self.prompts:
            there = ", ".join(self.prompts) or "none"
            raise UserError(f"there is no prompt {name!r}; the model has: {there}")
        return self.prompts[name] if name else ""
