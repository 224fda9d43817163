"""Train a tokenizer on texts.

WordPiece is trained by `tokenizers` on the words that `WordPiece` itself produces; unigram (Kudo,
2018) and BPE (Sennrich et al., 2016) by SentencePiece, with byte fallback, so that no token is ever
unknown.
"""

import io
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from random import Random
from typing import Literal

from plainformer.base import UserError
from plainformer.base.words import cut_at_spaces
from plainformer.tokenizer.base import SPECIAL_TOKENS, Tokenizer
from plainformer.tokenizer.chinese import part_han
from plainformer.tokenizer.inputs import refuse_surrogates
from plainformer.tokenizer.sentence_piece import SentencePiece
from plainformer.tokenizer.wordpiece import PREFIX, WordPiece, count_words

Kind = Literal["wordpiece", "unigram", "bpe"]
DELIMITER = "\ufdd0"
"""A Unicode noncharacter; SentencePiece lets no token contain it."""
RESERVED = str.maketrans({"▅": " ", DELIMITER: " ", "\0": " "})
"""Characters that SentencePiece reserves: it would skip every sentence with one."""
LONGEST_PART = 1 << 12
"""Characters of a sentence at most: SentencePiece takes quadratic time on repetitions."""
MERGED_WORDS = 1 << 19
"""Most frequent words on which WordPiece is trained, at 2 KB of memory each."""
SAMPLED = 100_000_000
"""Characters at most on which unigram and bpe are trained, at 10 to 70 bytes of memory each."""
EMPTY = "the texts to train a tokenizer on are empty"
COVERAGE = 0.9995
"""Fraction of the text that the characters in the vocabulary must cover (Kudo, 2018)."""


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

    Of texts above `SAMPLED` characters, unigram and bpe are trained on a random sample, the same
    each time, so that memory is bounded.

    Args:
        texts: the texts; they are read once.
        kind: the algorithm.
        vocab_size: the number of ids, including special tokens.
        lowercase: fold case (and, for WordPiece, strip accents).
        min_frequency: the least number of occurrences for a merge of two pieces (WordPiece).
        progress: show a progress bar.

    Raises:
        UserError: the texts are empty, or too small for so large a vocabulary.
    """
    if kind == "wordpiece":
        return _wordpiece(_checked(texts), vocab_size, lowercase, min_frequency, progress)
    if kind in ("unigram", "bpe"):
        return _sentencepiece(_checked(texts), kind, vocab_size, lowercase, progress)
    raise UserError(f"there is no tokenizer kind {kind!r}: choose wordpiece, unigram or bpe")


def _checked(texts: Iterable[str]) -> Iterator[str]:
    """Yield the texts; raise `UserError` for invalid Unicode and where all of them are empty."""
    empty = True
    for text in texts:
        refuse_surrogates(text)
        empty = empty and not text.strip()
        yield text
    if empty:
        raise UserError(EMPTY)


def _too_large(vocab_size: int, possible: int) -> UserError:
    return UserError(
        f"a vocabulary of {vocab_size} is too large for this text: the largest possible is "
        f"{possible}; choose a smaller one, or give more text"
    )


def _too_small(vocab_size: int, needed: int) -> UserError:
    return UserError(
        f"a vocabulary of {vocab_size} is too small: the special tokens and characters of this "
        f"text need {needed}"
    )


def _wordpiece(
    texts: Iterable[str], vocab_size: int, lowercase: bool, min_frequency: int, progress: bool
) -> WordPiece:
    """Count words, choose the alphabet, and let `tokenizers` learn the merges.

    The alphabet is the most frequent characters, until they cover 99.95 % of the text or fill half
    of the vocabulary. It is sorted here, since `tokenizers` breaks ties at random. Rarer characters
    are added only where the vocabulary is not full after the last merge.
    """
    from tokenizers import Tokenizer as Backend
    from tokenizers.models import WordPiece as Model
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.trainers import WordPieceTrainer

    words = count_words(texts, lowercase=lowercase)
    if not words:
        raise UserError(EMPTY)
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in _characters(word):
            counts[character] += count
    characters = sorted(counts, key=lambda character: (-counts[character], character))
    covered = accumulate(counts[character] for character in characters)
    enough = 1 + bisect_left(list(covered), COVERAGE * counts.total())
    alphabet = characters[: min(enough, max(vocab_size // 2, 200))]
    first = [*SPECIAL_TOKENS.values(), *sorted(alphabet)]
    if len(first) > vocab_size:
        raise _too_small(vocab_size, len(first))
    known = set(alphabet)
    spelled = {
        word: count
        for word, count in words.most_common(MERGED_WORDS)
        if known.issuperset(_characters(word))
    }
    backend = Backend(Model(unk_token=SPECIAL_TOKENS["unk"]))
    backend.pre_tokenizer = WhitespaceSplit()
    trainer = WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=first,
        show_progress=progress,
    )
    backend.train_from_iterator(_repeat(spelled), trainer)
    ids = backend.get_vocab()
    vocabulary = sorted(ids, key=ids.__getitem__)
    vocabulary += [character for character in characters if character not in ids]
    if len(vocabulary) < vocab_size:
        raise _too_large(vocab_size, len(vocabulary))
    return WordPiece(vocabulary[:vocab_size], lowercase=lowercase)


def _characters(word: str) -> list[str]:
    return [word[0], *(PREFIX + character for character in word[1:])]


def _repeat(words: Mapping[str, int]) -> Iterator[str]:
    for word, count in words.items():
        for start in range(0, count, 1000):
            yield f"{word} " * min(1000, count - start)


def _sentencepiece(
    texts: Iterable[str], kind: str, vocab_size: int, lowercase: bool, progress: bool
) -> SentencePiece:
    import sentencepiece

    pad, unk, *control = SPECIAL_TOKENS.values()
    model = io.BytesIO()
    sample = _sample(_sentences(texts))
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sample),
            model_writer=model,
            model_type=kind,
            vocab_size=vocab_size,
            byte_fallback=True,
            character_coverage=COVERAGE,
            normalization_rule_name="nmt_nfkc_cf" if lowercase else "nmt_nfkc",
            pad_id=0,
            unk_id=1,
            bos_id=-1,
            eos_id=-1,
            pad_piece=pad,
            unk_piece=unk,
            control_symbols=control,
            max_sentence_length=16 * LONGEST_PART,
            pretokenization_delimiter=DELIMITER,
            num_threads=1,
            minloglevel=0 if progress else 2,
        )
    except RuntimeError as error:
        message = str(error)
        if possible := re.search(r"Vocabulary size too high .* <= (\d+)", message):
            raise _too_large(vocab_size, int(possible[1])) from None
        if needed := re.search(r"required_chars\. \d+ vs (\d+)", message):
            raise _too_small(vocab_size, int(needed[1])) from None
        if "all_chars_count" in message:  # normalisation drops every character
            raise UserError(EMPTY) from None
        raise UserError(f"SentencePiece cannot be trained on this text: {message}") from None
    return SentencePiece(model.getvalue())


def _sentences(texts: Iterable[str]) -> Iterator[str]:
    """Split texts into sentences of bounded length, without reserved characters."""
    for text in texts:
        for part in cut_at_spaces(text.translate(RESERVED), LONGEST_PART):
            yield part_han(part, DELIMITER)


def _sample(sentences: Iterable[str]) -> list[str]:
    """Return the sentences, or so small a random share that `SAMPLED` characters are left."""
    random = Random(0)
    kept: list[str] = []
    size, share = 0, 1.0
    for sentence in sentences:
        if share == 1 or random.random() < share:
            kept.append(sentence)
            size += len(sentence)
        while size > SAMPLED:
            kept = [one for one in kept if random.random() < 0.5]
            size, share = sum(map(len, kept)), share / 2
    return kept
