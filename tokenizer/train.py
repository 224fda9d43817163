"""Training a vocabulary on texts.

WordPiece is trained by `tokenizers`, behind the same normalisation that encodes; unigram (Kudo,
2018) and BPE (Sennrich et al., 2016) by SentencePiece, with byte fallback, so that no text is ever
unknown.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from cellar import UserError
from tokenizer.base import SPECIAL_TOKENS, Tokenizer, lone_surrogate
from tokenizer.wordpiece import WordPiece

Kind = Literal["wordpiece", "unigram", "bpe"]
ROLES = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL_TOKENS, strict=True))


def train_tokenizer(
    texts: Iterable[str],
    *,
    kind: Kind = "wordpiece",
    vocab_size: int,
    lowercase: bool = True,
    min_frequency: int = 2,
    progress: bool = False,
) -> Tokenizer:
    """Train a tokenizer whose special tokens are [PAD] [UNK] [CLS] [SEP] [MASK], at ids 0 to 4.

    Args:
        texts: the texts, read once.
        kind: what the vocabulary is made of.
        vocab_size: the number of ids, special tokens among them.
        lowercase: fold case (and, for WordPiece, strip accents).
        min_frequency: how often a WordPiece merge must be seen.
        progress: show a bar.

    Raises:
        UserError: the texts are empty, or too small for so large a vocabulary.
    """
    if kind == "wordpiece":
        return _wordpiece(_checked(texts), vocab_size, lowercase, min_frequency, progress)
    raise UserError(f"no kind of tokenizer is called {kind!r}: choose wordpiece, unigram or bpe")


def _checked(texts: Iterable[str]) -> Iterator[str]:
    empty = True
    for text in texts:
        if not text.isascii() and re.search("[\ud800-\udfff]", text):
            raise lone_surrogate(text)
        empty = empty and not text.strip()
        yield text
    if empty:
        raise UserError("the texts to train a tokenizer on are empty")


def _too_large(vocab_size: int, possible: int) -> UserError:
    return UserError(
        f"a vocabulary of {vocab_size} is too large for this text: the largest possible is "
        f"{possible}; choose a smaller one, or give more text"
    )


def _wordpiece(
    texts: Iterator[str], vocab_size: int, lowercase: bool, min_frequency: int, progress: bool
) -> WordPiece:
    from tokenizers import Tokenizer as Backend
    from tokenizers.models import WordPiece as Model
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.trainers import WordPieceTrainer

    backend = Backend(Model(unk_token=ROLES["unk"]))
    backend.normalizer = BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = BertPreTokenizer()
    trainer = WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(SPECIAL_TOKENS),
        limit_alphabet=max(1000, vocab_size // 4),
        show_progress=progress,
    )
    backend.train_from_iterator(texts, trainer)
    vocabulary = backend.get_vocab()
    if len(vocabulary) < vocab_size:
        raise _too_large(vocab_size, len(vocabulary))
    return WordPiece(
        sorted(vocabulary, key=vocabulary.__getitem__), lowercase=lowercase, special_tokens=ROLES
    )
