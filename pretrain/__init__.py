"""The first stage: a corpus becomes token shards, masked batches, and a pretrained encoder."""

from pretrain.batch import MaskedBatch, Text
from pretrain.config import PretrainConfig
from pretrain.corpus import Corpus
from pretrain.data import MaskedBatches, Pieces
from pretrain.fill_mask import Guess, fill_mask
from pretrain.manifest import check_corpus, read_shards
from pretrain.masking import Masking
from pretrain.objectives import masked_lm
from pretrain.prepare import prepare_corpus
from pretrain.recipes import RECIPES
from pretrain.run import pretrain

__all__ = [
    "RECIPES",
    "Corpus",
    "Guess",
    "MaskedBatch",
    "MaskedBatches",
    "Masking",
    "Pieces",
    "PretrainConfig",
    "Text",
    "check_corpus",
    "fill_mask",
    "masked_lm",
    "prepare_corpus",
    "pretrain",
    "read_shards",
]
