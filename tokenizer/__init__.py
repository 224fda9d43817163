"""Text → ids with offsets: WordPiece, SentencePiece (unigram, BPE) and any `tokenizer.json`."""

from tokenizer.base import SPECIAL_TOKENS, Tokenizer
from tokenizer.encoding import Encoding, Template, Tokens
from tokenizer.extend import added_words, extend, split_words, written
from tokenizer.huggingface import HuggingFace
from tokenizer.inputs import check_text, listed, text_and_pair
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
    "check_text",
    "extend",
    "listed",
    "load_tokenizer",
    "split_words",
    "text_and_pair",
    "train_tokenizer",
    "written",
]
