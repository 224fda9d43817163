"""Text → ids with offsets: WordPiece, SentencePiece (unigram, BPE) and any `tokenizer.json`."""

from tokenizer.base import SPECIAL_TOKENS, Tokenizer
from tokenizer.encoding import Encoding, Template, Tokens
from tokenizer.extend import added_words, extend, split_words, written
from tokenizer.huggingface import HuggingFace
from tokenizer.load import load_tokenizer
from tokenizer.sentence_piece import SentencePiece
from tokenizer.train import train_tokenizer
from tokenizer.wordpiece import WordPiece

__all__ = [
    "SPECIAL_TOKENS",
    "Encoding",
    "HuggingFace",
    "SentencePiece",
    "Template",
    "Tokenizer",
    "Tokens",
    "WordPiece",
    "added_words",
    "extend",
    "load_tokenizer",
    "split_words",
    "train_tokenizer",
    "written",
]
