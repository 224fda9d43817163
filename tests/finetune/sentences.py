"""Sentences with tags, and what reads them."""

from plainformer.base.words import join_words
from plainformer.finetune.tasks.tagging.sentences import Sentence
from plainformer.finetune.tasks.tagging.task import Tagging
from tests.pretrain import tiny

TOKENIZERS = {kind: tiny.make_tokenizer(kind) for kind in ("wordpiece", "unigram", "bpe")}
LABELS = ("O", "B-A", "I-A", "B-B", "I-B")
PLAIN = ("-LRB-", "NN", "PRP$")


def sentence(words: list[str], tags: list[str] | None) -> Sentence:
    text, offsets = join_words(words)
    known = None if tags is None else tuple(tags)
    return Sentence(words=tuple(words), tags=known, text=text, offsets=tuple(offsets), source="f:1")


def task(max_length: int = 512, overflow: str = "truncate", plain: bool = False) -> Tagging:
    decoding, labels = ("each", PLAIN) if plain else ("legal", LABELS)
    return Tagging(labels=labels, decoding=decoding, max_length=max_length, overflow=overflow)
