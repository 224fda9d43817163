"""The model, hand-written; one idea a file, in the order in which data flows.

config → embeddings (+ positions) → blocks (attention, feedforward, norm) → model → heads
"""

from encoder.config import PRESETS, EncoderConfig
from encoder.finite import check_finite
from encoder.heads import (
    ChoiceScorer,
    Discriminator,
    MaskedLM,
    PairedMaskedLM,
    QuestionAnswerer,
    SentenceEncoder,
    SequenceClassifier,
    TokenClassifier,
    pool,
)
from encoder.int8 import in_int8
from encoder.model import Encoder, EncoderOutput
from encoder.ops import use_backend
from encoder.packing import Packing, Sequences
from encoder.prepack import prepacked
from encoder.vocabulary import extend_vocabulary

__all__ = [
    "PRESETS",
    "ChoiceScorer",
    "Discriminator",
    "Encoder",
    "EncoderConfig",
    "EncoderOutput",
    "MaskedLM",
    "Packing",
    "PairedMaskedLM",
    "QuestionAnswerer",
    "SentenceEncoder",
    "SequenceClassifier",
    "Sequences",
    "TokenClassifier",
    "check_finite",
    "extend_vocabulary",
    "in_int8",
    "pool",
    "prepacked",
    "use_backend",
]
