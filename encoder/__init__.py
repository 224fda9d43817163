"""The Transformer encoder: one file for each part, in the order of the data flow.

config → embeddings (+ positions) → blocks (attention mask, attention, feedforward, norm)
→ model → heads
"""

from plainformer.encoder.attention_mask import AttentionMask
from plainformer.encoder.config import PRESETS, EncoderConfig
from plainformer.encoder.embedding_offset import embedding_offset
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
from plainformer.encoder.int8 import quantize_int8
from plainformer.encoder.model import Encoder, EncoderOutput
from plainformer.encoder.new_tokens import extend_vocabulary
from plainformer.encoder.ops import use_backend
from plainformer.encoder.packing import Packing, PaddedSequences, Sequences
from plainformer.encoder.prepack import prepack_weights
from plainformer.encoder.weights import load_added, save_added

__all__ = [
    "PRESETS",
    "AttentionMask",
    "ChoiceScorer",
    "Discriminator",
    "Encoder",
    "EncoderConfig",
    "EncoderOutput",
    "HeadedModel",
    "HeadedOutput",
    "MaskedLM",
    "Packing",
    "PaddedSequences",
    "PairedMaskedLM",
    "QuestionAnswerer",
    "SentenceEncoder",
    "SequenceClassifier",
    "Sequences",
    "TokenClassifier",
    "check_finite",
    "embedding_offset",
    "extend_vocabulary",
    "load_added",
    "pool",
    "prepack_weights",
    "quantize_int8",
    "save_added",
    "use_backend",
]
