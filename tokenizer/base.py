"""The base class of all tokenizers: encode a text, a pair or a batch, and decode ids.

A subclass tokenizes one text without special tokens (`tokens`, or `words` for ids alone). This
class adds special tokens, truncation, windows and padding.
"""

import copy
import hashlib
import json
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Int64
from torch import Tensor

from plainformer.base import UserError, plural, write_json
from plainformer.tokenizer.encoding import (
    CharSpan,
    Encoding,
    Template,
    Tokens,
    longest_first,
    windows,
)
from plainformer.tokenizer.inputs import as_list, check_text, text_and_pair

SPECIAL_TOKENS = {
    "pad": "[PAD]",
    "unk": "[UNK]",
    "cls": "[CLS]",
    "sep": "[SEP]",
    "mask": "[MASK]",
}
"""The special tokens by role, with ids 0 to 4, of the tokenizers that are trained here."""


CACHED_WORDS = 1 << 16


class Tokenizer(ABC):
    """Convert text to ids and back.

    `special_tokens` names the roles: `{"pad": "[PAD]", "unk": …, "cls": …, "sep": …, "mask": …}`.
    `max_length` is the longest sequence that the model accepts, or None without a known limit. It
    is saved with the tokenizer, and is the default of every call. A longer text loses tokens on its
    `truncation_side`; `batch` pads on the `padding_side`.
    """

    special_tokens: dict[str, str]
    template: Template
    gives_token_types: bool = True
    """Use of the template's token types; without it, every token has type 0."""
    max_length: int | None = None
    truncation_side: str = "right"
    padding_side: str = "right"
    clean_up_spaces: bool = False
    _cached_words = CACHED_WORDS

    def copy_settings(self, other: "Tokenizer") -> None:
        """Copy the settings of truncation, padding, token types and decoding from another one."""
        self.max_length = other.max_length
        self.truncation_side, self.padding_side = other.truncation_side, other.padding_side
        self.clean_up_spaces = other.clean_up_spaces
        if not other.gives_token_types:
            self.drop_token_types()

    def with_max_length(self, max_length: int | None) -> Self:
        """Return the same tokenizer with another limit of tokens."""
        other = copy.copy(self)
        other.max_length = max_length
        return other

    def without_special_tokens(self) -> Self:
        """Return the same tokenizer, which puts no special tokens around a text.

        It is saved as before: the reader of such a folder knows that there are none.
        """
        other = copy.copy(self)
        other.template = Template.bare()
        return other

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Return the number of ids."""

    def drop_token_types(self) -> None:
        """Use type 0 for every token, as where `model_input_names` lacks `token_type_ids`."""
        self.gives_token_types = False
        self.template = self.template.without_types()

    @property
    def largest_id(self) -> int:
        """Return the largest id, which exceeds `vocab_size` where the ids have gaps."""
        return self.vocab_size - 1

    def check_vocabulary(self, rows: int, model: str = "the model") -> None:
        """Check that `model` has a row of token embeddings for every id.

        Raises:
            UserError: it has fewer `rows` than the tokenizer has ids.
        """
        if self.largest_id >= rows:
            raise UserError(
                f"the tokenizer has {self.largest_id + 1} tokens, {model} only {rows}: they do not "
                "belong together"
            )

    @property
    @abstractmethod
    def special_ids(self) -> frozenset[int]:
        """Return the ids of all special tokens."""

    @abstractmethod
    def token(self, id: int) -> str:
        """Return the token of an id."""

    @abstractmethod
    def id(self, token: str) -> int:
        """Return the id of a token.

        Raises:
            UserError: the vocabulary has no such token.
        """

    @abstractmethod
    def tokens(self, text: str) -> Tokens:
        """Return the tokens of one text, without the template's special tokens."""

    def word_tokens(self, words: Iterable[str]) -> Tokens:
        """Tokenize a text that is already split into words; no token spans two words.

        `word_ids` number these words, offsets point into the token's own word, and a word without
        tokens becomes one unknown token. Each word is tokenized as a separate text, as
        `transformers` does with `is_split_into_words=True`; the tokenizer's `add_prefix_space`
        decides whether a space precedes it.
        """
        if isinstance(words, str):
            raise UserError("word_tokens takes a list of words: write word_tokens(text.split())")
        ids: list[int] = []
        offsets: list[CharSpan] = []
        word_ids: list[int] = []
        for number, tokens in enumerate(self._of_words(words)):
            ids += tokens.ids
            offsets += tokens.offsets
            word_ids += [number] * len(tokens)
        return Tokens(ids, offsets, word_ids)

    def for_words(self) -> "Tokenizer":
        """Return the variant of this tokenizer that suits word tagging; by default itself."""
        return self

    def limit_caches(self, entries: int) -> None:
        """Keep the tokens of fewer words in memory; call this before any is tokenized."""
        self._cached_words = entries

    def _of_words(self, words: Iterable[str]) -> Iterable[Tokens]:
        return map(self._cached, words)

    @cached_property
    def _cached(self) -> Callable[[str], Tokens]:
        return self._caching(self._word)

    def _caching(self, tokens: Callable[[str], Tokens]) -> Callable[[str], Tokens]:
        """Cache the tokens of words; a word without tokens becomes one unknown token."""

        def of_word(word: str) -> Tokens:
            return tokens(word) or Tokens([self.unk_id], [(0, len(word))], [0])

        return lru_cache(self._cached_words)(of_word)

    def _word(self, word: str) -> Tokens:
        """Tokenize one word."""
        return self.tokens(word)

    @abstractmethod
    def words(self, text: str) -> Sequence[Sequence[int]]:
        """Return the ids of each word, without special tokens; faster than `tokens`."""

    @abstractmethod
    def spell(self, word: str) -> list[int]:
        """Return the ids of one word in the spelling of the vocabulary: `▁word`, `Ġword`.

        For WordPiece the spelling is the plain word, without `##`.
        """

    def whole_word_id(self, word: str) -> int | None:
        """Return the id of a word that is one token; None for several, special or unknown ones.

        RoBERTa's vocabulary has two tokens for a word: `for_words()` asks for the one after a
        space.
        """
        ids = self.tokens(word).ids
        return ids[0] if len(ids) == 1 and ids[0] not in self.special_ids else None

    def decode(self, ids: Iterable[int], *, skip_special_tokens: bool = True) -> str:
        """Return the text of token ids, also of a tensor of them.

        Raises:
            UserError: an id is not in the vocabulary.
        """
        numbers = [operator.index(id) for id in ids]
        for number in numbers:
            if not 0 <= number <= self.largest_id:
                raise UserError(f"there is no token {number}: ids are from 0 to {self.largest_id}")
        text = self._decode(numbers, skip_special_tokens)
        return _without_spaces(text) if self.clean_up_spaces else text

    @abstractmethod
    def _decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str: ...

    @abstractmethod
    def definition(self) -> dict[str, Any]:
        """Return the whole tokenizer as the content of a `tokenizer.json`."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return the settings of `tokenizer_config.json`."""

    pad_id = property(lambda self: self._special_id("pad"))
    unk_id = property(lambda self: self._special_id("unk"))
    cls_id = property(lambda self: self._special_id("cls"))
    sep_id = property(lambda self: self._special_id("sep"))
    mask_id = property(lambda self: self._special_id("mask"))

    def _special_id(self, role: str) -> int:
        if role not in self.special_tokens:
            raise UserError(f"this tokenizer has no {role} token: see its tokenizer_config.json")
        return self.id(self.special_tokens[role])

    def _limit(self, max_length: int | None) -> int | None:
        return self.max_length if max_length is None else max_length

    def encode(
        self, text: str, pair: str | None = None, *, max_length: int | None = None
    ) -> Encoding:
        """Encode a text, or a text and its pair, truncated longest first to `max_length` tokens.

        Raises:
            UserError: `max_length` leaves no room for text, or a text is not valid Unicode.
        """
        _check(text, pair)
        a, b = self.tokens(text), None if pair is None else self.tokens(pair)
        room = self.template.room(self._limit(max_length), b is not None)
        size_a, size_b = len(a), 0 if b is None else len(b)
        if room is None or size_a + size_b <= room:
            return self.template.encode(a, b)
        keep_a, keep_b = longest_first(size_a, size_b, room)
        return self.template.encode(
            a[self._kept(size_a, keep_a)],
            None if b is None else b[self._kept(size_b, keep_b)],
            size_a + size_b - keep_a - keep_b,
        )

    def _kept(self, size: int, keep: int) -> slice:
        return slice(size - keep, None) if self.truncation_side == "left" else slice(keep)

    def windows(
        self, text: str, pair: str | None = None, *, max_length: int | None = None, stride: int = 0
    ) -> list[Encoding]:
        """Encode a long text as windows of `max_length` tokens that overlap by `stride` tokens.

        The second text of a pair is split; the first (a question) is repeated in each window.
        Windows start at the left, whatever the `truncation_side`, since no token is lost.

        Raises:
            UserError: no room is left for the text to split, or `stride` is not less than the room.
        """
        _check(text, pair)
        a, b = self.tokens(text), None if pair is None else self.tokens(pair)
        room = self.template.room(self._limit(max_length), b is not None)
        if b is None:
            cuts = windows(len(a), max(len(a), 1) if room is None else room, stride)
            return [self.template.encode(a[cut], None) for cut in cuts]
        if room is not None and len(a) >= room:
            raise UserError(
                f"the first text has {plural(len(a), 'token')} and leaves no room for its pair"
            )
        cuts = windows(len(b), max(len(b), 1) if room is None else room - len(a), stride)
        return [self.template.encode(a, b[cut]) for cut in cuts]

    def batch(
        self, texts: Sequence[str | tuple[str, str]], *, max_length: int | None = None
    ) -> dict[str, Int64[Tensor, "batch seq"]]:
        """Encode texts or pairs, padded to the longest: `model(**tokenizer.batch(…))`.

        Returns:
            `input_ids`, `attention_mask` (1 on tokens, 0 on padding) and `token_type_ids`.

        Raises:
            UserError: an item is neither a text nor a pair of texts.
        """
        limit = self._limit(max_length)
        rows = [
            self._ids(*text_and_pair(text, f"text {number}"), limit)
            for number, text in enumerate(as_list(texts), start=1)
        ]
        shape = len(rows), max((len(ids) for ids, _ in rows), default=0)
        input_ids = torch.full(shape, self.pad_id)
        attention_mask = torch.zeros(shape, dtype=torch.long)
        token_type_ids = torch.zeros(shape, dtype=torch.long)
        for row, (ids, type_ids) in enumerate(rows):
            start = shape[1] - len(ids) if self.padding_side == "left" else 0
            filled = slice(start, start + len(ids))
            input_ids[row, filled] = torch.tensor(ids)
            attention_mask[row, filled] = 1
            token_type_ids[row, filled] = torch.tensor(type_ids)
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
        }

    def _ids(
        self, text: str, pair: str | None, max_length: int | None
    ) -> tuple[list[int], list[int]]:
        a = list(chain.from_iterable(self.words(text)))
        b = None if pair is None else list(chain.from_iterable(self.words(pair)))
        room = self.template.room(max_length, b is not None)
        keep_a, keep_b = longest_first(len(a), len(b or ()), room)
        return self.template.ids(
            a[self._kept(len(a), keep_a)],
            None if b is None else b[self._kept(len(b), keep_b)],
        )

    def fingerprint(self) -> str:
        """Return a short hash of the definition, which is equal for equal tokenizers."""
        text = json.dumps(self.definition(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, which `AutoTokenizer` reads, too.

        Other files of the folder, such as the model's, are not changed.
        """
        folder = Path(folder)
        definition = self.definition()
        config = self.config() | {
            f"{role}_token": token for role, token in self.special_tokens.items()
        }
        # With this field, `transformers` reads no special_tokens_map.json or added_tokens.json.
        config["added_tokens_decoder"] = {
            str(token["id"]): {name: value for name, value in token.items() if name != "id"}
            for token in definition["added_tokens"]
        }
        config.pop("model_max_length", None)
        if self.max_length is not None:
            config["model_max_length"] = self.max_length
        for name, value, usual in (
            ("truncation_side", self.truncation_side, "right"),
            ("padding_side", self.padding_side, "right"),
            ("clean_up_tokenization_spaces", self.clean_up_spaces, False),
        ):
            if value != usual:
                config[name] = value
        if not self.gives_token_types:
            config["model_input_names"] = ["input_ids", "attention_mask"]
        write_json(folder / "tokenizer.json", definition)
        write_json(folder / "tokenizer_config.json", config)


def _without_spaces(text: str) -> str:
    """Remove spaces as `clean_up_tokenization_spaces` of `transformers` does."""
    for mark in (".", "?", "!", ","):
        text = text.replace(f" {mark}", mark)
    text = text.replace(" ' ", "'")
    for ending in ("n't", "'m", "'s", "'ve", "'re"):
        text = text.replace(f" {ending}", ending)
    return text


def added_token(token: str, id: int) -> dict[str, Any]:
    """Return the entry in `tokenizer.json` of a special token that is matched in the raw text."""
    exactly = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": id, "content": token, **exactly, "special": True}


def _check(text: str, pair: str | None) -> None:
    check_text(text)
    if pair is not None:
        check_text(pair, "the pair")
