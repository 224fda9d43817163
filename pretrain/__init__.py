"""The first stage: a corpus becomes token shards, masked batches, and a pretrained encoder."""

from pretrain.batch import MaskedBatch, Text
from pretrain.config import PretrainConfig
from pretrain.data import MaskedBatches, Pieces
from pretrain.fill_mask import Guess, fill_mask
from pretrain.masking import Masking
from pretrain.objectives import masked_lm
from pretrain.run import pretrain
from pretrain.shards import read_shards, write_shards

__all__ = [
    "Guess",
    "MaskedBatch",
    "MaskedBatches",
    "Masking",
    "Pieces",
    "PretrainConfig",
    "Text",
    "fill_mask",
    "masked_lm",
    "pretrain",
    "read_shards",
    "write_shards",
]
