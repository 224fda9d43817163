"""A vocabulary grows by the words that it splits most; every piece that it had keeps its id.

    gain(word) = count(word) · (pieces(word) − 1)

This is by how many tokens the texts are shorter for that word. (AVocaDo, Hong et al. 2021,
arXiv:2110.13434, adds words until there are few enough pieces to a word.) New words stand behind
the old vocabulary, and each kind of tokenizer takes them in its own way, which `transformers` reads
too:

- WordPiece matches the longest piece first, so a new word is taken wherever a word *begins* with
  it: `stomata` makes `stomatal` to `stomata ##l`. Words that begin with no new word are split as
  before.
- BPE (a `tokenizer.json`) is told to look a word up before it merges (`ignore_merges`): no word but
  the new ones is split in another way, ever.
- Unigram takes the pieces of the largest total score. A new word gets the score of the rarest of
  its pieces, which is more than that of all of them together. Words that do not contain it are
  split as before.

SentencePiece's BPE reaches a piece only through its halves: it cannot take in whole words.
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

SEEN = 5
"""times that a word must come: what stands for it is learned only where it comes"""


def split_words(tokenizer: Tokenizer, texts: Iterable[str], limit: int) -> list[str]:
    """Give the words that cost the texts most tokens, as the vocabulary writes them; best first.

    Words are of letters alone, come at least `SEEN` times, and are at most `limit`. A word that
    cannot be spelled counts as one piece more than it has characters: nothing of it is read.
    """
    gains: dict[str, int] = {}
    for word, count in _count(tokenizer, texts).items():
        if count >= SEEN:
            pieces = tokenizer.spell(word)
            unknown = tokenizer.unk_id in pieces
            gains[word] = count * (len(word) if unknown else len(pieces) - 1)
    best = sorted(gains, key=lambda word: (-gains[word], word))
    return [word for word in best if gains[word] > 0][:limit]


def _count(tokenizer: Tokenizer, texts: Iterable[str]) -> Counter[str]:
    """Count the words of letters alone, but for those that are one piece."""
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
    """Give the word of which these are the pieces, as the vocabulary writes it."""
    return "".join(tokenizer.token(id).removeprefix(PREFIX) for id in ids)


def extend(tokenizer: Tokenizer, words: Sequence[str]) -> Tokenizer:
    """Give a tokenizer that has these words, too, behind all that it had.

    Raises:
        UserError: a word is there already or is none, or such a tokenizer takes in no words.
    """
    if not words:
        return tokenizer
    vocabulary = {tokenizer.token(id) for id in range(tokenizer.vocab_size)}
    for word in words:
        if word in vocabulary or word.startswith(PREFIX):
            fault = "stands in the vocabulary already" if word in vocabulary else "is no whole word"
            raise UserError(f"{word!r} {fault}: it cannot be added")
        vocabulary.add(word)
    extended = _extended(tokenizer, words)
    extended.take_settings(tokenizer)
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
    raise UserError("SentencePiece's BPE cannot take in whole words: it reaches them by halves")


def added_words(tokenizer: Tokenizer, extended: Tokenizer) -> list[str]:
    """Give the words by which `extended` is more than `tokenizer`; none where the two are equal.

    Raises:
        UserError: it is something else than an extension.
    """
    try:
        words = [extended.token(id) for id in range(tokenizer.vocab_size, extended.vocab_size)]
        if extend(tokenizer, words).fingerprint() == extended.fingerprint():
            return words
    except (UserError, IndexError):
        pass
    raise UserError("it is neither the same tokenizer nor one that was extended by words")


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
        # `tokenizers` numbers anew what is added and not in the vocabulary: so there it goes.
        vocab = model["vocab"] | {a["content"]: a["id"] for a in definition["added_tokens"]}
        is_whole = sorted(vocab.values()) == list(range(first))
        model = model | {"vocab": vocab | {word: id for id, word in enumerate(words, first)}}
    if not is_whole:
        raise UserError("the ids of this tokenizer.json have no place for words behind them")
    if model["type"] == "BPE":
        model["ignore_merges"] = True
    extended = HuggingFace(
        definition | {"model": model},
        # A class that builds its tokenizer from vocabulary and merges would merge first.
        config=tokenizer.config() | {"tokenizer_class": "PreTrainedTokenizerFast"},
        special_tokens=tokenizer.special_tokens,
        max_length=tokenizer.max_length,
    )
    for id in range(first):
        text = tokenizer.decode([id])
        if extended.tokens(text).ids != tokenizer.tokens(text).ids:
            raise UserError(f"{text!r} is in the vocabulary, and yet split: words cannot be added")
    return extended
