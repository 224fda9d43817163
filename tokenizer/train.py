"""Training a vocabulary on texts.

WordPiece is trained by `tokenizers`, behind the same normalisation that encodes; unigram (Kudo,
2018) and BPE (Sennrich et al., 2016) by SentencePiece, with byte fallback, so that no text is ever
unknown.
"""

import io
import re
from collections.abc import Iterable, Iterator
from typing import Literal

from cellar import UserError
from tokenizer.base import SPECIAL_TOKENS, Tokenizer, lone_surrogate
from tokenizer.sentence_piece import SentencePiece
from tokenizer.wordpiece import WordPiece

Kind = Literal["wordpiece", "unigram", "bpe"]


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
        min_frequency: how often a pair of pieces must be seen to become one (WordPiece).
        progress: show a bar.

    Raises:
        UserError: the texts are empty, or too small for so large a vocabulary.
    """
    if kind == "wordpiece":
        return _wordpiece(_checked(texts), vocab_size, lowercase, min_frequency, progress)
    if kind in ("unigram", "bpe"):
        return _sentencepiece(_checked(texts), kind, vocab_size, lowercase, progress)
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

    backend = Backend(Model(unk_token=SPECIAL_TOKENS["unk"]))
    backend.normalizer = BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = BertPreTokenizer()
    trainer = WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=list(SPECIAL_TOKENS.values()),
        limit_alphabet=max(1000, vocab_size // 4),
        show_progress=progress,
    )
    backend.train_from_iterator(texts, trainer)
    vocabulary = backend.get_vocab()
    if len(vocabulary) < vocab_size:
        raise _too_large(vocab_size, len(vocabulary))
    return WordPiece(sorted(vocabulary, key=vocabulary.__getitem__), lowercase=lowercase)


def _sentencepiece(
    texts: Iterator[str], kind: str, vocab_size: int, lowercase: bool, progress: bool
) -> SentencePiece:
    import sentencepiece

    pad, unk, *control = SPECIAL_TOKENS.values()
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=texts,
            model_writer=model,
            model_type=kind,
            vocab_size=vocab_size,
            byte_fallback=True,
            character_coverage=0.9995,
            normalization_rule_name="nmt_nfkc_cf" if lowercase else "nmt_nfkc",
            pad_id=0,
            unk_id=1,
            bos_id=-1,
            eos_id=-1,
            pad_piece=pad,
            unk_piece=unk,
            control_symbols=control,
            max_sentence_length=1 << 20,
            num_threads=1,
            minloglevel=0 if progress else 2,
        )
    except RuntimeError as error:
        message = str(error)
        if possible := re.search(r"Vocabulary size too high .* <= (\d+)", message):
            raise _too_large(vocab_size, int(possible[1])) from None
        if needed := re.search(r"required_chars\. \d+ vs (\d+)", message):
            raise UserError(
                f"a vocabulary of {vocab_size} is too small: the bytes and characters of this "
                f"text alone need {needed[1]}"
            ) from None
        raise
    return SentencePiece(model.getvalue())
