"""Build the input sequence of a model: special tokens around a text or a pair, truncated.

    single   [CLS] a [SEP]              type ids 0 0 0
    pair     [CLS] a [SEP] b [SEP]      type ids 0 0 0 1 1

Tokenizers that are trained here use BERT's template (Devlin et al., 2019); a `tokenizer.json`
defines its own, such as RoBERTa's `<s> a </s></s> b </s>`. Truncation is "longest first", and
windows overlap by `stride` tokens, both as in Hugging Face `tokenizers`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeVar

from plainformer.base import UserError, plural

Entry = TypeVar("Entry")
CharSpan = tuple[int, int]
TemplatePart = tuple[int | Literal["a", "b"], int]
"""A special token's id, or "a" or "b" for a text; and the type id of its tokens."""


@dataclass(slots=True)
class Tokens:
    """A text as tokens, without special tokens.

    `text[start:end]` is the source of a token with offsets `(start, end)`, without leading white
    space; `word_ids` numbers the words of the text from 0.
    """

    ids: list[int]
    offsets: list[CharSpan]
    word_ids: list[int]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, where: slice) -> "Tokens":
        return Tokens(self.ids[where], self.offsets[where], self.word_ids[where])


EncodingPart = tuple[Tokens, int, int | None]
"""Tokens, their type id, and the text they belong to: 0, 1, or None for a special token."""


@dataclass(slots=True)
class Encoding:
    """The input sequence of a model; each property is a list with one entry per token.

    `offsets` point into the text, or into its pair where `sequence_ids` is 1. Special tokens of the
    template have offsets `(0, 0)`, None in `word_ids` and `sequence_ids`, and 1 in
    `special_tokens_mask`. `dropped` is the number of tokens that truncation removed.
    """

    parts: tuple[EncodingPart, ...]
    dropped: int = 0

    def __len__(self) -> int:
        return sum(len(tokens) for tokens, _, _ in self.parts)

    @property
    def ids(self) -> list[int]:
        """Return the token ids."""
        return _joined([tokens.ids for tokens, _, _ in self.parts])

    @property
    def type_ids(self) -> list[int]:
        """Return the type id of each token."""
        return _joined([[type_id] * len(tokens) for tokens, type_id, _ in self.parts])

    @property
    def offsets(self) -> list[CharSpan]:
        """Return the source of each token in its text, `(start, end)`."""
        return _joined([tokens.offsets for tokens, _, _ in self.parts])

    @property
    def word_ids(self) -> list[int | None]:
        """Return the number of each token's word in its text."""
        words: list[int | None] = []
        for tokens, _, owner in self.parts:
            words += [None] * len(tokens) if owner is None else tokens.word_ids
        return words

    @property
    def special_tokens_mask(self) -> list[int]:
        """Return 1 for each special token of the template and 0 for each token of a text."""
        return _joined([[int(owner is None)] * len(tokens) for tokens, _, owner in self.parts])

    @property
    def sequence_ids(self) -> list[int | None]:
        """Return 0 for each token of the text, 1 for its pair, None for a special token."""
        return _joined([[owner] * len(tokens) for tokens, _, owner in self.parts])


@dataclass(frozen=True, slots=True)
class Template:
    """The order of special tokens and texts in a sequence, for one text and for a pair."""

    single: tuple[TemplatePart, ...]
    pair: tuple[TemplatePart, ...]

    @classmethod
    def bert(cls, cls_id: int, sep_id: int) -> "Template":
        """Return `[CLS] a [SEP]` and `[CLS] a [SEP] b [SEP]`."""
        single: tuple[TemplatePart, ...] = ((cls_id, 0), ("a", 0), (sep_id, 0))
        return cls(single, (*single, ("b", 1), (sep_id, 1)))

    @classmethod
    def bare(cls) -> "Template":
        """Return the template of texts without special tokens: `a`, and `a b`."""
        return cls((("a", 0),), (("a", 0), ("b", 0)))

    def without_types(self) -> "Template":
        """Return the same template with token type 0 everywhere."""
        single, pair = ([(part, 0) for part, _ in parts] for parts in (self.single, self.pair))
        return Template(tuple(single), tuple(pair))

    def parts(self, is_pair: bool) -> tuple[TemplatePart, ...]:
        """Return the parts of the template for one text or for a pair."""
        return self.pair if is_pair else self.single

    def room(self, max_length: int | None, is_pair: bool) -> int | None:
        """Return the number of text tokens that fit beside the special tokens; None for no limit.

        Raises:
            UserError: not a single token of text fits.
        """
        if max_length is None:
            return None
        special = len(self.parts(is_pair)) - (2 if is_pair else 1)
        if max_length <= special:
            raise UserError(
                f"max_length {max_length} is too short: it leaves no room for text beside "
                f"{plural(special, 'special token')}"
            )
        return max_length - special

    def ids(self, a: Sequence[int], b: Sequence[int] | None) -> tuple[list[int], list[int]]:
        """Insert ids into the template; return ids and type ids."""
        ids: list[int] = []
        type_ids: list[int] = []
        for part, type_id in self.parts(b is not None):
            piece = a if part == "a" else (b or ()) if part == "b" else (part,)
            ids += piece
            type_ids += [type_id] * len(piece)
        return ids, type_ids

    def encode(self, a: Tokens, b: Tokens | None, dropped: int = 0) -> Encoding:
        """Insert tokens into the template."""
        parts: list[EncodingPart] = []
        for part, type_id in self.parts(b is not None):
            if part == "a":
                parts.append((a, type_id, 0))
            elif isinstance(part, int):
                parts.append((_special(part), type_id, None))
            elif b is not None:
                parts.append((b, type_id, 1))
        return Encoding(tuple(parts), dropped)


@cache
def _special(id: int) -> Tokens:
    return Tokens([id], [(0, 0)], [0])


def _joined(columns: Iterable[list[Entry]]) -> list[Entry]:
    joined: list[Entry] = []
    for column in columns:
        joined += column
    return joined


def trim(text: str, start: int, end: int) -> CharSpan:
    """Remove leading white space from a token's source, unless it is all white space."""
    length = len(text[start:end].lstrip())
    return (end - length, end) if length else (start, end)


def longest_first(a: int, b: int, room: int | None) -> tuple[int, int]:
    """Return the lengths to which two texts of `a` and `b` tokens are truncated to fit `room`.

    Tokens are removed from the longer text until both fit. Where both end up equally long, the one
    that was longer (or the second) keeps the odd token, as in `tokenizers`.
    """
    if room is None or a + b <= room:
        return a, b
    short = min(a, b)
    kept = (short, room - short) if 2 * short <= room else (room // 2, room - room // 2)
    return kept if a <= b else (kept[1], kept[0])


def windows(length: int, size: int, stride: int) -> Iterator[slice]:
    """Cut `length` tokens into windows of at most `size`, each sharing `stride` with the last.

    Raises:
        UserError: `stride` is negative, or not less than `size`.
    """
    if not 0 <= stride < size:
        raise UserError(
            f"stride {stride} must be at least 0 and less than the {size} tokens of text that fit "
            "into a window"
        )
    for start in range(0, max(length - stride, 1), size - stride):
        yield slice(start, min(start + size, length))
