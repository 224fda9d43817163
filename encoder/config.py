"""Configure an encoder: one frozen dataclass, validated on construction, with named presets.

The published architectures differ only in these fields:

- `bert`: post-norm, learned positions, GELU, biases, token types (Devlin et al. 2018,
  arXiv:1810.04805);
- `roberta`, `xlm-roberta`, `camembert`: as BERT, with positions from the padding token's id + 1;
- `distilbert`: as BERT, without token types;
- `electra`: as BERT, with a separate size of the embeddings;
- `albert`: as ELECTRA, with one block for all layers;
- `mpnet`: as RoBERTa, without token types, with a learned bias by distance;
- `modern`: pre-norm, rotary positions, gated GELU, no biases, global attention in every third layer
  and a sliding window in the others (ModernBERT, Warner et al. 2024, arXiv:2412.13663).

Any field can be changed alone, to try one idea at a time.
"""

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from plainformer.base import UserError

Architecture = Literal[
    "bert",
    "roberta",
    "xlm-roberta",
    "camembert",
    "distilbert",
    "electra",
    "albert",
    "mpnet",
    "modern",
]
Positions = Literal["learned", "sinusoidal", "rotary", "alibi"]
Norm = Literal["layer_norm", "rms_norm"]
NormOrder = Literal["post", "pre"]
Activation = Literal["gelu", "gelu_tanh", "relu"]
ClassifierHead = Literal["pooler", "tanh", "relu", "gelu", "prediction"]
MAY_BE_ZERO = (
    "type_vocab_size",
    "pad_token_id",
    "local_attention",
    "embedding_size",
    "attention_size",
    "position_offset",
)
MAX_SIZES = {"num_hidden_layers": 10_000, "num_attention_heads": 10_000}
"""Largest accepted sizes: a larger one is a typing error that would exhaust memory."""
MAX_SIZE = 2**28


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The hyperparameters of an encoder. The defaults are BERT-base.

    Raises `UserError` if fields contradict each other.
    """

    architecture: Architecture = "bert"
    """The family: its initialisation, and its names of tensors in files."""
    vocab_size: int = 30522
    embedding_size: int = 0
    """Size of the embeddings, which a projection widens to `hidden_size` (Lan et al. 2019,
    arXiv:1909.11942); 0: `hidden_size`, without a projection."""
    hidden_size: int = 768
    num_hidden_layers: int = 12
    share_layers: bool = False
    """Use one block as every layer (Lan et al. 2019)."""
    num_attention_heads: int = 12
    attention_size: int = 0
    """Size of all heads of a layer together: less than `hidden_size` where heads were pruned; 0:
    `hidden_size`."""
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    """The longest sequence; a hard limit where positions are a table (learned, sinusoidal)."""
    type_vocab_size: int = 2
    """Number of segments of a text; 0: no segment embedding."""
    pad_token_id: int = 0
    positions: Positions = "learned"
    position_offset: int = 0
    """Row of position 0 in the table of positions."""
    relative_bias: bool = False
    """Add a learned number for each distance to attention scores (MPNet)."""
    norm: Norm = "layer_norm"
    norm_order: NormOrder = "post"
    norm_eps: float = 1e-12
    norm_bias: bool = True
    bias: bool = True
    """Give biases to the linear layers of the blocks."""
    gated: bool = False
    """Use a gated unit as the feed-forward layer."""
    hidden_act: Activation = "gelu"
    """The activation of the feed-forward layer and of the masked-LM head."""
    local_attention: int = 0
    """Width of the sliding window of local layers, in tokens; 0: every layer is global."""
    global_attn_every_n_layers: int = 1
    """Layers 0, n, 2n … are global, the others local."""
    global_rope_theta: float = 160_000.0
    """Base of the rotary angles in global layers."""
    local_rope_theta: float = 10_000.0
    """Base of the rotary angles in local layers."""
    tie_word_embeddings: bool = True
    """Score a token in masked-LM with its input embedding (Press & Wolf 2017)."""
    classifier_head: ClassifierHead = "pooler"
    """Layer before the classifier of a text: the encoder's pooler (BERT); a dense layer with this
    activation (RoBERTa: tanh, DistilBERT: relu, ELECTRA: gelu); or the prediction head of masked-LM
    (ModernBERT), which then precedes the classifier of tokens, too."""
    head_bias: bool = True
    """Give a bias to the dense layer of the prediction head."""
    embedding_dropout: float = 0.1
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.1
    classifier_dropout: float = 0.1
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            kinds, least = get_args(field.type), 0 if name in MAY_BE_ZERO else 1
            if kinds and value not in kinds:
                raise UserError(f"unknown {name} {value!r}: choose one of {', '.join(kinds)}")
            if field.type is bool and not isinstance(value, bool):
                raise UserError(f"{name} must be true or false, not {value!r}")
            if field.type is int and not (type(value) is int and value >= least):
                raise UserError(f"{name} must be a whole number, at least {least}, not {value!r}")
            if field.type is int and value > (most := MAX_SIZES.get(name, MAX_SIZE)):
                raise UserError(f"{name} {value} is too large: at most {most}")
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if field.type is float and not (number and 0 <= value < math.inf):
                raise UserError(f"{name} must be a number, at least 0, not {value!r}")
            if name.endswith("_theta") and value == 0:
                raise UserError(f"{name} must be above 0")
            if name.endswith("_dropout") and value >= 1:
                raise UserError(f"{name} must be in [0, 1), not {value}")
        if self.heads_size % self.num_attention_heads:
            name = "attention_size" if self.attention_size else "hidden_size"
            raise UserError(
                f"{name} {self.heads_size} is not divisible by "
                f"num_attention_heads {self.num_attention_heads}"
            )
        if self.positions == "rotary" and self.head_size % 2:
            raise UserError(f"rotary positions need an even head size, not {self.head_size}")
        if self.positions == "sinusoidal" and self.token_size % 2:
            raise UserError(f"sinusoidal positions need an even size, not {self.token_size}")
        if self.positions == "alibi" and self.relative_bias:
            raise UserError("alibi and relative_bias both change the scores: choose one")
        if self.share_layers and (self.norm_order == "pre" or self.local_attention):
            raise UserError("share_layers needs layers that are all alike: post-norm and global")
        if self.pad_token_id >= self.vocab_size:
            raise UserError(
                f"pad_token_id {self.pad_token_id} is outside the vocabulary of {self.vocab_size}"
            )
        if self.local_attention % 2:
            raise UserError(f"local_attention must be even, not {self.local_attention}")

    @property
    def head_size(self) -> int:
        """Return the size of one attention head."""
        return self.heads_size // self.num_attention_heads

    @property
    def heads_size(self) -> int:
        """Return the size of all attention heads of a layer together."""
        return self.attention_size or self.hidden_size

    @property
    def token_size(self) -> int:
        """Return the size of the embeddings, before the projection."""
        return self.embedding_size or self.hidden_size

    def is_local(self, layer: int) -> bool:
        """Return whether the attention of `layer` has a sliding window."""
        return self.local_attention > 0 and layer % self.global_attn_every_n_layers != 0

    @property
    def window(self) -> int:
        """Return how many positions a token of a local layer sees on each side."""
        return self.local_attention // 2

    def check_max_length(self, max_length: int, model: str, prompt: int = 0) -> None:
        """Raise `UserError` when sequences may be longer than the positions of `model`.

        `prompt`: number of vectors before each sequence.
        """
        if max_length + prompt > self.max_position_embeddings:
            vectors = f", after a soft prompt of {prompt}," if prompt else ""
            raise UserError(
                f"max_length {max_length}{vectors} is more than the {self.max_position_embeddings} "
                f"positions of {model}"
            )

    def with_dropout(self, probability: float) -> "EncoderConfig":
        """Replace the dropout of vectors; attention weights get no more than that."""
        return replace(
            self,
            embedding_dropout=probability,
            hidden_dropout=probability,
            classifier_dropout=probability,
            attention_dropout=min(self.attention_dropout, probability),
        )

    @classmethod
    def preset(cls, name: str, **changes: Any) -> "EncoderConfig":
        """Return a preset with `changes`: `EncoderConfig.preset("bert-tiny", vocab_size=8000)`."""
        if name not in PRESETS:
            raise UserError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
        return replace(PRESETS[name], **changes)


def _bert(layers: int, hidden: int) -> EncoderConfig:
    return EncoderConfig(
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=hidden // 64,
        intermediate_size=4 * hidden,
    )


def _electra(layers: int, hidden: int, embedding: int) -> EncoderConfig:
    return replace(
        _bert(layers, hidden),
        architecture="electra",
        embedding_size=0 if embedding == hidden else embedding,
        classifier_head="gelu",
    )


def _albert(layers: int, hidden: int, embedding: int) -> EncoderConfig:
    return replace(
        _bert(layers, hidden),
        architecture="albert",
        embedding_size=embedding,
        share_layers=True,
        hidden_act="gelu_tanh",
        embedding_dropout=0.0,
        hidden_dropout=0.0,
        attention_dropout=0.0,
    )


def _modern(layers: int, hidden: int, intermediate: int) -> EncoderConfig:
    """Return ModernBERT at this size, with larger initial weights for smaller hidden sizes."""
    return EncoderConfig(
        architecture="modern",
        vocab_size=50368,
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=hidden // 64,
        intermediate_size=intermediate,
        max_position_embeddings=8192,
        type_vocab_size=0,
        pad_token_id=50283,
        positions="rotary",
        norm_order="pre",
        norm_eps=1e-5,
        norm_bias=False,
        bias=False,
        gated=True,
        local_attention=128,
        global_attn_every_n_layers=3,
        embedding_dropout=0.0,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        classifier_dropout=0.0,
        classifier_head="prediction",
        head_bias=False,
        initializer_range=0.02 * math.sqrt(768 / hidden),
    )


PRESETS: dict[str, EncoderConfig] = {
    # Turc et al. 2019 (arXiv:1908.08962) trained BERT at these sizes.
    "bert-tiny": _bert(2, 128),
    "bert-mini": _bert(4, 256),
    "bert-small": _bert(4, 512),
    "bert-medium": _bert(8, 512),
    "bert-base": _bert(12, 768),
    # Small and base are published (ELECTRA), or base alone (ALBERT); tiny has their proportions.
    "electra-tiny": _electra(4, 128, 64),
    "electra-small": _electra(12, 256, 128),
    "electra-base": _electra(12, 768, 768),
    "albert-tiny": _albert(4, 128, 64),
    "albert-base": _albert(12, 768, 128),
    # ModernBERT-base has 22 layers; the smaller ones keep its proportions.
    "modern-tiny": _modern(4, 128, 256),
    "modern-mini": _modern(6, 256, 384),
    "modern-small": _modern(8, 512, 768),
    "modern-medium": _modern(12, 512, 768),
    "modern-base": _modern(22, 768, 1152),
}
