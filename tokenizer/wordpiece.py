"""WordPiece, BERT's tokenizer, with a cache of the tokens of each space-separated chunk.

    1. clean:   drop control characters, turn white space into spaces
    2. spread:  put spaces around Chinese characters
    3. fold:    lower-case; strip accents (decompose by NFD, drop the marks)
    4. split:   at spaces, and around each punctuation character
    5. match:   take the longest piece of the vocabulary that begins the word, then the longest
                `##` piece that continues it, and so on; a word that cannot be completed, or is
                longer than 100 characters, is [UNK]

Devlin et al. (2019), google-research/bert `tokenization.py`; equal in ids, offsets and word ids to
Hugging Face `tokenizers` (BertNormalizer, BertPreTokenizer, WordPiece). One difference is known:
marks that are kept (a few Mc, and Mn newer than the tables of `tokenizers`) are not sorted into
canonical order.

Steps 1 to 4 treat each character by itself, so a table from characters to their replacements
implements them all. The text can therefore be split at spaces first, and the pieces of each chunk
are kept in a bounded cache, since most chunks recur.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from plainformer.base import UserError, write_text
from plainformer.base.words import cut_at_spaces
from plainformer.tokenizer.base import SPECIAL_TOKENS, Tokenizer, added_token
from plainformer.tokenizer.encoding import CharSpan, Template, Tokens
from plainformer.tokenizer.inputs import refuse_surrogates

PREFIX = "##"
LONGEST_WORD = 100
DECODER = {"type": "WordPiece", "prefix": PREFIX, "cleanup": True}
"""The decoder of `tokenizer.json` that is implemented here."""
MAX_CHARACTERS = 1 << 16
"""Characters at most whose replacement is kept."""

Value = TypeVar("Value")


class _Characters(dict[int, str]):
    """The replacement of each character in steps 1 to 4, with spaces at word boundaries.

    Beyond ASCII, `tokenizers` classifies the character: Python's Unicode tables change from release
    to release, and ids must not change with them.
    """

    def __init__(self, lowercase: bool, strip_accents: bool, chinese: bool) -> None:
        self._normalize = BertNormalizer(
            clean_text=True,
            handle_chinese_chars=chinese,
            strip_accents=strip_accents,
            lowercase=lowercase,
        ).normalize_str
        self._split = BertPreTokenizer().pre_tokenize_str
        for code in range(128):
            character = chr(code)
            if character in string.punctuation:
                self[code] = f" {character} "
            elif character in " \t\n\r":
                self[code] = " "
            elif character.isprintable():
                self[code] = character.lower() if lowercase else character
            else:
                self[code] = ""

    def __missing__(self, code: int) -> str:
        normal = self._normalize(chr(code).encode().decode())
        replacement = "".join(
            f" {character} " if self._is_punctuation(character) else character
            for character in normal
        )
        if len(self) < MAX_CHARACTERS:
            self[code] = replacement
        return replacement

    def _is_punctuation(self, character: str) -> bool:
        return len(self._split(f"a{character}a")) == 3


class _Cache(dict[str, Value]):
    """A bounded cache of a function of short strings.

    A full cache becomes the former one. Entries of the former move back when they are used; the
    others are dropped when the cache is full again.
    """

    entries = 1 << 17
    length = 64

    def __init__(self, function: Callable[[str], Value]) -> None:
        self._function = function
        self._former: dict[str, Value] = {}

    def __missing__(self, chunk: str) -> Value:
        former = self._former  # another thread may replace it
        value = former[chunk] if chunk in former else self._function(chunk)
        if len(chunk) <= self.length:
            if len(self) >= self.entries:
                self._former = dict(self)
                self.clear()
            self[chunk] = value
        return value


_Piece = tuple[int, int, int, bool]
"""A token of a chunk: its id, its start and end in the chunk, whether it begins a word."""

# Chinese text has no spaces: these breaks keep its chunks short, so that they recur.
_PUNCTUATION = "、。，：；！？「」《》"
_BREAKS = rf"\t\n\r\u3000{_PUNCTUATION}"
_CHINESE = r"\u3400-\u4dbf\u4e00-\u9fff"
_CHUNKS = re.compile(f"[{_PUNCTUATION}{_CHINESE}]|[^ {_BREAKS}{_CHINESE}]+")


LONGEST_PART = 1 << 20
"""Characters at most that are split into words at once."""
MAX_COUNTED_WORDS = 1 << 20
"""Distinct words at most that are counted (a fifth of a gigabyte)."""


def count_words(
    texts: Iterable[str],
    *,
    lowercase: bool,
    strip_accents: bool | None = None,
    chinese_characters: bool = True,
) -> Counter[str]:
    """Count the words that steps 1 to 4 produce from texts, to train a vocabulary.

    Above `MAX_COUNTED_WORDS` the rarer half is dropped while counting (lossy counting, Manku &
    Motwani 2002), so that texts of any size are counted in bounded memory.
    """
    chunks: Counter[str] = Counter()
    for text in texts:
        for part in cut_at_spaces(text, LONGEST_PART):
            chunks.update(_CHUNKS.findall(part))
            if len(chunks) > MAX_COUNTED_WORDS:
                chunks = Counter(dict(chunks.most_common(MAX_COUNTED_WORDS // 2)))
    strip_accents = lowercase if strip_accents is None else strip_accents
    characters = _Characters(lowercase, strip_accents, chinese_characters)
    words: Counter[str] = Counter()
    for chunk, count in chunks.items():
        for word in chunk.translate(characters).split(" "):
            if 0 < len(word) <= LONGEST_WORD:
                words[word] += count
    return words


class WordPiece(Tokenizer):
    """BERT's tokenizer over a vocabulary of whole words and `##` continuations.

    `special_tokens` gives the five roles; `added` are further tokens that, like the special ones,
    are matched in the raw text.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        *,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        chinese_characters: bool = True,
        special_tokens: Mapping[str, str] = SPECIAL_TOKENS,
        added: Iterable[str] = (),
        max_length: int | None = None,
    ) -> None:
        self.vocabulary = list(vocabulary)
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        self.chinese_characters = chinese_characters
        self.special_tokens = dict(special_tokens)
        self.max_length = max_length
        self._id_of = {token: id for id, token in enumerate(self.vocabulary)}
        self._special = {token: self.id(token) for token in (*self.special_tokens.values(), *added)}
        self.template = Template.bert(self.cls_id, self.sep_id)
        self._unk = self.unk_id
        self._continuations = {
            token.removeprefix(PREFIX): id
            for token, id in self._id_of.items()
            if token.startswith(PREFIX)
        }
        self._longest = max(map(len, self.vocabulary))
        self._characters = _Characters(
            lowercase, lowercase if strip_accents is None else strip_accents, chinese_characters
        )
        longest_token_first = sorted(self._special, key=len, reverse=True)
        special = "|".join(map(re.escape, longest_token_first))
        breaks = _BREAKS + _CHINESE * chinese_characters
        first_of_special = re.escape("".join({token[:1] for token in longest_token_first}))
        self._find_break = re.compile(f"[{breaks}{first_of_special}]").search
        self._split = re.compile(f"({special}|[ {breaks}])").split
        self._matches = _Cache(self._match)
        self._pieces = _Cache(self._pieces_of)
        self._words = _Cache(self._words_of)

    def limit_caches(self, entries: int) -> None:
        """Keep the tokens of fewer words and chunks in memory."""
        super().limit_caches(entries)
        for cache in (self._matches, self._pieces, self._words):
            cache.entries = entries

    @property
    def vocab_size(self) -> int:
        """Return the number of ids."""
        return len(self.vocabulary)

    @property
    def special_ids(self) -> frozenset[int]:
        """Return the ids of all special tokens."""
        return frozenset(self._special.values())

    def token(self, id: int) -> str:
        """Return the token of an id."""
        return self.vocabulary[id]

    def id(self, token: str) -> int:
        """Return the id of a token.

        Raises:
            UserError: the vocabulary has no such token.
        """
        try:
            return self._id_of[token]
        except KeyError:
            raise UserError(f"the vocabulary has no token {token!r}") from None

    def words(self, text: str) -> list[Sequence[int]]:
        """Return the ids of each word, without special tokens."""
        try:
            return list(chain.from_iterable(map(self._words.__getitem__, self._cut(text)[0])))
        except UnicodeEncodeError:
            refuse_surrogates(text)
            raise

    def spell(self, word: str) -> list[int]:
        """Return the ids of one word that is normalised already."""
        return [id for id, _, _ in self._match(word)]

    def tokens(self, text: str) -> Tokens:
        """Return the tokens of one text, without the template's special tokens."""
        ids: list[int] = []
        offsets: list[CharSpan] = []
        word_ids: list[int] = []
        remembered = self._pieces
        start, word = 0, -1
        chunks, gap = self._cut(text)
        try:
            for chunk in chunks:
                pieces = remembered[chunk]
                end = start + len(chunk)
                if isinstance(pieces, int):
                    word += 1
                    ids.append(pieces)
                    offsets.append((start, end))
                    word_ids.append(word)
                else:
                    for id, first, last, opens_word in pieces:
                        word += opens_word
                        ids.append(id)
                        offsets.append((start + first, start + last))
                        word_ids.append(word)
                start = end + gap
        except UnicodeEncodeError:
            refuse_surrogates(text)
            raise
        return Tokens(ids, offsets, word_ids)

    def _cut(self, text: str) -> tuple[list[str], int]:
        """Split a text into chunks; return them and the number of characters between two."""
        if self._find_break(text):  # or the first character of a special token
            return self._split(text), 0
        return text.split(" "), 1

    def _pieces_of(self, chunk: str) -> int | tuple[_Piece, ...]:
        """Tokenize a chunk; return its id alone where it is one whole word of the vocabulary."""
        if chunk in self._special:
            return self._special[chunk]
        words = chunk.translate(self._characters).split()
        sources: Sequence[int] = range(len(chunk))
        # ASCII characters become at most one each: with an equal sum, none has moved.
        if not chunk.isascii() or sum(map(len, words)) != len(chunk):
            sources = [
                position
                for position, character in enumerate(chunk)
                for normal in self._characters[ord(character)]
                if normal != " "
            ]
        pieces = []
        first = 0
        for word in words:
            for id, start, end in self._matches[word]:
                span = sources[first + start], sources[first + end - 1] + 1
                pieces.append((id, *span, start == 0))
            first += len(word)
        whole = len(pieces) == 1 and pieces[0][1:3] == (0, len(chunk))
        return pieces[0][0] if whole else tuple(pieces)

    def _words_of(self, chunk: str) -> list[tuple[int, ...]]:
        if chunk in self._special:
            return [(self._special[chunk],)]
        words = chunk.translate(self._characters).split()
        return [tuple(id for id, _, _ in self._matches[word]) for word in words]

    def _match(self, word: str) -> tuple[tuple[int, int, int], ...]:
        """Match the longest piece first, from left to right; return (id, start, end)."""
        unknown = ((self._unk, 0, len(word)),)
        if len(word) > LONGEST_WORD:
            return unknown
        pieces = []
        start, ids = 0, self._id_of
        while start < len(word):
            for end in range(min(len(word), start + self._longest), start, -1):
                id = ids.get(word[start:end])
                if id is not None:
                    break
            else:
                return unknown
            pieces.append((id, start, end))
            start, ids = end, self._continuations
        return tuple(pieces)

    def _decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        """Join pieces into words, and words with spaces, except before `.`, `?`, `!` and `,`."""
        text = ""
        special = self.special_ids if skip_special_tokens else frozenset()
        for token in (self.vocabulary[id] for id in ids if id not in special):
            if text and token.startswith(PREFIX):
                text += token.removeprefix(PREFIX)
            elif text and not token.startswith(_NO_SPACE_BEFORE):
                text += f" {token}"
            else:
                text += token
        return text

    def definition(self) -> dict[str, Any]:
        """Return the whole tokenizer as the content of a `tokenizer.json`."""
        cls, sep = self.special_tokens["cls"], self.special_tokens["sep"]
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                added_token(token, id)
                for token, id in sorted(self._special.items(), key=lambda item: item[1])
            ],
            "normalizer": {
                "type": "BertNormalizer",
                "clean_text": True,
                "handle_chinese_chars": self.chinese_characters,
                "strip_accents": self.strip_accents,
                "lowercase": self.lowercase,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {
                "type": "BertProcessing",
                "sep": [sep, self.sep_id],
                "cls": [cls, self.cls_id],
            },
            "decoder": DECODER,
            "model": {
                "type": "WordPiece",
                "unk_token": self.special_tokens["unk"],
                "continuing_subword_prefix": PREFIX,
                "max_input_chars_per_word": LONGEST_WORD,
                "vocab": self._id_of,
            },
        }

    def config(self) -> dict[str, Any]:
        """Return the settings of `tokenizer_config.json`."""
        return {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": self.lowercase,
            "strip_accents": self.strip_accents,
            "tokenize_chinese_chars": self.chinese_characters,
        }

    def save(self, folder: str | Path) -> None:
        """Write `vocab.txt`, `tokenizer.json` and `tokenizer_config.json`."""
        super().save(folder)
        write_text(Path(folder) / "vocab.txt", "".join(f"{token}\n" for token in self.vocabulary))


_NO_SPACE_BEFORE = (".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re")
