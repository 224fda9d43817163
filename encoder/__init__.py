"""The Transformer encoder: one file for each part, in the order of the data flow.

config → embeddings (+ positions) → blocks (attention mask, attention, feedforward, norm)
→ model → heads

`Encoder(config)` builds a whole one. Each part can also be built alone, from its sizes, and called:

    attention = MultiHeadAttention(hidden_size=64, num_heads=4)
    y, weights = attention(x, AttentionMask(Sequences.of([5])), output_attentions=True)
"""

from plainformer.encoder.attention import MultiHeadAttention
from plainformer.encoder.attention_mask import AttentionMask
from plainformer.encoder.block import Block
from plainformer.encoder.config import PRESETS, EncoderConfig
from plainformer.encoder.embedding_offset import embedding_offset
from plainformer.encoder.embeddings import Embeddings
from plainformer.encoder.feedforward import FeedForward, GatedFeedForward
from plainformer.encoder.finite import check_finite
from plainformer.encoder.heads import (
    ChoiceScorer,
    Discriminator,
    HeadedModel,
    HeadedOutput,
    MaskedLM,
    PairedMaskedLM,
    QuestionAnswerer,
    SentenceEncoder,
    SequenceClassifier,
    TokenClassifier,
    pool,
)
from plainformer.encoder.huge_pages import use_huge_pages
from plainformer.encoder.int8 import quantize_int8
from plainformer.encoder.int8_static import quantize_static
from plainformer.encoder.model import Encoder, EncoderOutput
from plainformer.encoder.new_tokens import extend_vocabulary
from plainformer.encoder.norm import LayerNorm, RMSNorm
from plainformer.encoder.ops import use_backend
from plainformer.encoder.packing import Packing, PaddedSequences, Sequences
from plainformer.encoder.positions import (
    AlibiBias,
    LearnedPositions,
    RelativeBias,
    SinusoidalPositions,
    rotary_angles,
)
from plainformer.encoder.prepack import prepack_weights
from plainformer.encoder.traced import TracedSequences
from plainformer.encoder.weights import load_added, save_added
from plainformer.encoder.word_vectors import load_word_vectors

__all__ = [
    "PRESETS",
    "AlibiBias",
    "AttentionMask",
    "Block",
    "ChoiceScorer",
    "Discriminator",
    "Embeddings",
    "Encoder",
    "EncoderConfig",
    "EncoderOutput",
    "FeedForward",
    "GatedFeedForward",
    "HeadedModel",
    "HeadedOutput",
    "LayerNorm",
    "LearnedPositions",
    "MaskedLM",
    "MultiHeadAttention",
    "Packing",
    "PaddedSequences",
    "PairedMaskedLM",
    "QuestionAnswerer",
    "RMSNorm",
    "RelativeBias",
    "SentenceEncoder",
    "SequenceClassifier",
    "Sequences",
    "SinusoidalPositions",
    "TokenClassifier",
    "TracedSequences",
    "check_finite",
    "embedding_offset",
    "extend_vocabulary",
    "load_added",
    "load_word_vectors",
    "pool",
    "prepack_weights",
    "quantize_int8",
    "quantize_static",
    "rotary_angles",
    "save_added",
    "use_backend",
    "use_huge_pages",
]
