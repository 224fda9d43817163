"""Convert text to ids with offsets: WordPiece, SentencePiece, and any `tokenizer.json`."""

from plainformer.tokenizer.base import SPECIAL_TOKENS, Tokenizer
from plainformer.tokenizer.encoding import Encoding, Template, Tokens
from plainformer.tokenizer.extend import added_words, extend, join_pieces, split_words
from plainformer.tokenizer.huggingface import HuggingFace
from plainformer.tokenizer.inputs import as_list, check_text, text_and_pair
from plainformer.tokenizer.load import load_tokenizer
from plainformer.tokenizer.sentence_piece import SentencePiece
from plainformer.tokenizer.train import train_tokenizer
from plainformer.tokenizer.trim import always_kept, trim
from plainformer.tokenizer.wordpiece import WordPiece

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
    "always_kept",
    "as_list",
    "check_text",
    "extend",
    "join_pieces",
    "load_tokenizer",
    "split_words",
    "text_and_pair",
    "train_tokenizer",
    "trim",
]
