"""The first stage: a corpus becomes token shards, masked batches, and a pretrained encoder.

run.py                    one run from end to end: read it first
config.py, recipes.py     its options, and sets of options that belong together
start.py                  the model that it starts from: a new one, whose first heads look at
                          neighbours (neighbours.py), or (continue_pretraining.py) a pretrained
                          one, whose vocabulary may grow
corpus/, datasets.py      text → token shards
data.py, batch.py         shards → chunks of documents → packed batches
objectives/, masking.py   the targets and the loss, an object for each objective
plan.py, budget.py        a budget → size of the model, batches and steps
evaluation.py, plateau.py held-out loss, forgetting, and a warning when nothing is learned
fill_mask.py              predict the tokens at [MASK]
"""

from plainformer.pretrain.batch import MaskedBatch, PackedText
from plainformer.pretrain.config import PretrainConfig
from plainformer.pretrain.corpus import Corpus, check_corpus, prepare_corpus, read_shards
from plainformer.pretrain.data import Chunks, MaskedBatches, fixed_batches, unigram_entropy
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
    "fixed_batches",
    "masked_lm",
    "prepare_corpus",
    "pretrain",
    "read_shards",
    "unigram_entropy",
]
