"""The first stage: a corpus becomes token shards, masked batches, and a pretrained encoder."""

from plainformer.pretrain.batch import MaskedBatch, PackedText
from plainformer.pretrain.config import PretrainConfig
from plainformer.pretrain.corpus import Corpus, check_corpus, prepare_corpus, read_shards
from plainformer.pretrain.data import Chunks, MaskedBatches
from plainformer.pretrain.fill_mask import Guess, fill_mask
from plainformer.pretrain.masking import Masking
from plainformer.pretrain.objectives import OBJECTIVES, PretrainingObjective, masked_lm
from plainformer.pretrain.recipes import RECIPES
from plainformer.pretrain.run import pretrain

__all__ = [
    "OBJECTIVES",
    "RECIPES",
    "Chunks",
    "Corpus",
    "Guess",
    "MaskedBatch",
    "MaskedBatches",
    "Masking",
    "PackedText",
    "PretrainConfig",
    "PretrainingObjective",
    "check_corpus",
    "fill_mask",
    "masked_lm",
    "prepare_corpus",
    "pretrain",
    "read_shards",
]
