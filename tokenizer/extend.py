"""Extend a vocabulary by the words that it splits most; every old piece keeps its id.

    gain(word) = count(word) · (pieces(word) − 1)

The gain is the number of tokens that the new word saves in the texts. (AVocaDo, Hong et al. 2021,
arXiv:2110.13434, instead adds words until the mean number of pieces per word is small enough.) New
words get the ids after the old vocabulary. `transformers` reads the extended tokenizers, too:

- WordPiece matches the longest piece first, so a new word is matched wherever a word *begins* with
  it: with `stomata` in the vocabulary, `stomatal` becomes `stomata ##l`. All other words are split
  as before.
- BPE (a `tokenizer.json`) looks a word up before it merges (`ignore_merges`), so that only the new
  words are split differently.
- Unigram chooses the pieces with the largest total score. A new word gets the score of the rarest
  of its pieces, which is more than their sum. Words that do not contain it are split as before.

SentencePiece's BPE is not supported: it builds a piece only by merging two others.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Sequence

from plainformer.base import UserError
from plainformer.base.words import is_of_letters
from plainformer.tokenizer.base import Tokenizer
from plainformer.tokenizer.huggingface import HuggingFace
from plainformer.tokenizer.sentence_piece import SentencePiece
from plainformer.tokenizer.wordpiece import PREFIX, WordPiece, count_words

MIN_COUNT = 5  # the embedding of a rarer word would hardly be trained


def split_words(tokenizer: Tokenizer, texts: Iterable[str], limit: int) -> list[str]:
    """Return the words with the largest gain, spelled as in the vocabulary, largest first.

    At most `limit` words are returned; each consists of letters and occurs at least `MIN_COUNT`
    times. A word with an unknown piece counts as `len(word) + 1` pieces.
    """
    gains: dict[str, int] = {}
    for word, count in _count(tokenizer, texts).items():
        if count >= MIN_COUNT:
            pieces = tokenizer.spell(word)
            unknown = tokenizer.unk_id in pieces
            gains[word] = count * (len(word) if unknown else len(pieces) - 1)
    best = sorted(gains, key=lambda word: (-gains[word], word))
    return [word for word in best if gains[word] > 0][:limit]


def _count(tokenizer: Tokenizer, texts: Iterable[str]) -> Counter[str]:
    """Count the words that consist of letters and of more than one piece."""
    words: Counter[str] = Counter()
    if isinstance(tokenizer, WordPiece):
        counted = count_words(
            texts,
            lowercase=tokenizer.lowercase,
            strip_accents=tokenizer.strip_accents,
            chinese_characters=tokenizer.chinese_characters,
        )
        return Counter({word: count for word, count in counted.items() if is_of_letters(word)})
    special = tokenizer.special_ids
    spelled = Counter(tuple(word) for text in texts for word in tokenizer.words(text))
    for ids, count in spelled.items():
        if len(ids) > 1 and is_of_letters(tokenizer.decode(ids).strip()):
            word = join_pieces(tokenizer, ids)
            # Bytes of a character, and unknown pieces, are not a spelling of the word.
            if special.isdisjoint(ids) and tokenizer.spell(word) == list(ids):
                words[word] += count
    return words


def join_pieces(tokenizer: Tokenizer, ids: Iterable[int]) -> str:
    """Join the pieces of one word, as the vocabulary spells it."""
    return "".join(tokenizer.token(id).removeprefix(PREFIX) for id in ids)


def extend(tokenizer: Tokenizer, words: Sequence[str]) -> Tokenizer:
    """Return a tokenizer with these words added after its vocabulary.

    Raises:
        UserError: a word is in the vocabulary or begins with `##`, or the tokenizer is a BPE of
            SentencePiece.
    """
    if not words:
        return tokenizer
    vocabulary = {tokenizer.token(id) for id in range(tokenizer.vocab_size)}
    for word in words:
        if word in vocabulary or word.startswith(PREFIX):
            fault = "is in the vocabulary already" if word in vocabulary else "is not a whole word"
            raise UserError(f"{word!r} {fault}: it cannot be added")
        vocabulary.add(word)
    extended = _extended(tokenizer, words)
    extended.copy_settings(tokenizer)
    return extended


def _extended(tokenizer: Tokenizer, words: Sequence[str]) -> Tokenizer:
    match tokenizer:
        case WordPiece():
            return WordPiece(
                [*tokenizer.vocabulary, *words],
                lowercase=tokenizer.lowercase,
                strip_accents=tokenizer.strip_accents,
                chinese_characters=tokenizer.chinese_characters,
                special_tokens=tokenizer.special_tokens,
                added=[tokenizer.token(id) for id in tokenizer.special_ids],
            )
        case SentencePiece() if not tokenizer.is_bpe():
            return SentencePiece(
                tokenizer.model + b"".join(_piece(tokenizer, word) for word in words),
            )
        case HuggingFace():
            return _extend_definition(tokenizer, words)
    raise UserError("words cannot be added to SentencePiece's BPE: use unigram or WordPiece")


def added_words(tokenizer: Tokenizer, extended: Tokenizer) -> list[str]:
    """Return the words by which `extended` extends `tokenizer`; none if the two are equal.

    Raises:
        UserError: `extended` is neither the same tokenizer nor an extension of it.
    """
    try:
        words = [extended.token(id) for id in range(tokenizer.vocab_size, extended.vocab_size)]
        if extend(tokenizer, words).fingerprint() == extended.fingerprint():
            return words
    except (UserError, IndexError):
        pass
    raise UserError("it is neither the same tokenizer nor an extension of it by words")


def _piece(tokenizer: SentencePiece, word: str) -> bytes:
    """Write a piece and its score as a field of a SentencePiece model."""
    score = min(tokenizer.score(id) for id in tokenizer.spell(word))
    return _first_field(_first_field(word.encode()) + b"\x15" + struct.pack("<f", score))


def _first_field(content: bytes) -> bytes:
    """Write field 1 of a protocol-buffer message: number, size, content."""
    size = len(content)
    sizes = [size] if size < 128 else [size & 127 | 128, size >> 7]
    return bytes([0x0A, *sizes]) + content


def _extend_definition(tokenizer: HuggingFace, words: Sequence[str]) -> HuggingFace:
    definition, first = tokenizer.definition(), tokenizer.vocab_size
    model = definition["model"]
    if model["type"] == "Unigram":
        scores = [score for _, score in model["vocab"]]
        further = [[word, min(scores[id] for id in tokenizer.spell(word))] for word in words]
        is_whole = len(scores) == first
        model = model | {"vocab": [*model["vocab"], *further]}
    else:
        # `tokenizers` renumbers added tokens outside the vocabulary, so they are moved into it.
        vocab = model["vocab"] | {a["content"]: a["id"] for a in definition["added_tokens"]}
        is_whole = sorted(vocab.values()) == list(range(first))
        model = model | {"vocab": vocab | {word: id for id, word in enumerate(words, first)}}
    if not is_whole:
        raise UserError("the ids of this tokenizer.json have gaps: words cannot be added")
    if model["type"] == "BPE":
        model["ignore_merges"] = True
    extended = HuggingFace(
        definition | {"model": model},
        # Any other class would rebuild the tokenizer without `ignore_merges`.
        config=tokenizer.config() | {"tokenizer_class": "PreTrainedTokenizerFast"},
        special_tokens=tokenizer.special_tokens,
        max_length=tokenizer.max_length,
    )
    for id in range(first):
        text = tokenizer.decode([id])
        if extended.tokens(text).ids != tokenizer.tokens(text).ids:
            raise UserError(f"{text!r} is in the vocabulary, and yet split: words cannot be added")
    return extended
