"""The text of a corpus, stored as token shards.

text.py         read the documents of files and named sets, in a training and a held-out part
prepare.py      tokenize them in several processes (worker_pool.py) and write shards
shards.py       the token files: written once, then mapped into memory
manifest.py     the index of a corpus, and the journal of one that is being written
"""

from plainformer.pretrain.corpus.manifest import (
    Manifest,
    check_corpus,
    is_prepared,
    read_manifest,
    read_shards,
)
from plainformer.pretrain.corpus.prepare import prepare_corpus
from plainformer.pretrain.corpus.shards import Shard
from plainformer.pretrain.corpus.text import Corpus, Split

__all__ = [
    "Corpus",
    "Manifest",
    "Shard",
    "Split",
    "check_corpus",
    "is_prepared",
    "prepare_corpus",
    "read_manifest",
    "read_shards",
]
