"""One sequence, ready for the model: special tokens around one text or two, cut to a length.

    single   [CLS] a [SEP]              type ids 0 0 0
    pair     [CLS] a [SEP] b [SEP]      type ids 0 0 0 1 1

The template is BERT's (Devlin et al., 2019) for tokenizers that are trained here; a loaded
`tokenizer.json` brings its own, such as RoBERTa's `<s> a </s></s> b </s>`. Truncation is
"longest first" and windows overlap by `stride` tokens, both as in Hugging Face `tokenizers`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeVar

from plainformer.base import UserError, plural

Entry = TypeVar("Entry")
CharSpan = tuple[int, int]
TemplatePart = tuple[int | Literal["a", "b"], int]
"""One place of a template: a special token's id or a text, and its type id."""


@dataclass(slots=True)
class Tokens:
    """A text as tokens, without special tokens.

    `text[start:end]` is the source of a token with offsets `(start, end)`, without the white space
    before it; `word_ids` counts the words of the text from 0.
    """

    ids: list[int]
    offsets: list[CharSpan]
    word_ids: list[int]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, where: slice) -> "Tokens":
        return Tokens(self.ids[where], self.offsets[where], self.word_ids[where])


EncodingPart = tuple[Tokens, int, int | None]
"""Tokens with their type id, and of which text they are: 0, 1 or, a special token, None."""


@dataclass(slots=True)
class Encoding:
    """One sequence for the model; every list has one entry a token, made when it is asked for.

    `offsets` point into the text, or into its pair where `sequence_ids` is 1, and are `(0, 0)` for
    the template's special tokens, whose `word_ids` and `sequence_ids` are None and whose
    `special_tokens_mask` is 1. `dropped` is the number of tokens that truncation left out.
    """

    parts: tuple[EncodingPart, ...]
    dropped: int = 0

    def __len__(self) -> int:
        return sum(len(tokens) for tokens, _, _ in self.parts)

    @property
    def ids(self) -> list[int]:
        """What the model reads."""
        return _joined([tokens.ids for tokens, _, _ in self.parts])

    @property
    def type_ids(self) -> list[int]:
        """Of which type each token is, to the model."""
        return _joined([[type_id] * len(tokens) for tokens, type_id, _ in self.parts])

    @property
    def offsets(self) -> list[CharSpan]:
        """Where each token comes from."""
        return _joined([tokens.offsets for tokens, _, _ in self.parts])

    @property
    def word_ids(self) -> list[int | None]:
        """Of which word of its text each token is."""
        words: list[int | None] = []
        for tokens, _, owner in self.parts:
            words += [None] * len(tokens) if owner is None else tokens.word_ids
        return words

    @property
    def special_tokens_mask(self) -> list[int]:
        """1 for the template's special tokens, 0 for those of texts."""
        return _joined([[int(owner is None)] * len(tokens) for tokens, _, owner in self.parts])

    @property
    def sequence_ids(self) -> list[int | None]:
        """Of which text each token is."""
        return _joined([[owner] * len(tokens) for tokens, _, owner in self.parts])


@dataclass(frozen=True, slots=True)
class Template:
    """Where the special tokens stand around one text and around a pair; each text stands once."""

    single: tuple[TemplatePart, ...]
    pair: tuple[TemplatePart, ...]

    @classmethod
    def bert(cls, cls_id: int, sep_id: int) -> "Template":
        """Give `[CLS] a [SEP]` and `[CLS] a [SEP] b [SEP]`."""
        single: tuple[TemplatePart, ...] = ((cls_id, 0), ("a", 0), (sep_id, 0))
        return cls(single, (*single, ("b", 1), (sep_id, 1)))

    def without_types(self) -> "Template":
        """Return the same template with token type 0 everywhere."""
        single, pair = ([(part, 0) for part, _ in parts] for parts in (self.single, self.pair))
        return Template(tuple(single), tuple(pair))

    def parts(self, is_pair: bool) -> tuple[TemplatePart, ...]:
        """Give the places of one text or of a pair."""
        return self.pair if is_pair else self.single

    def room(self, max_length: int | None, is_pair: bool) -> int | None:
        """Give how many tokens of text fit beside the special tokens; None is without limit.

        Raises:
            UserError: `max_length` has no place for a single token of text.
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
        """Put ids in their places: ids and type ids."""
        ids: list[int] = []
        type_ids: list[int] = []
        for part, type_id in self.parts(b is not None):
            piece = a if part == "a" else (b or ()) if part == "b" else (part,)
            ids += piece
            type_ids += [type_id] * len(piece)
        return ids, type_ids

    def encode(self, a: Tokens, b: Tokens | None, dropped: int = 0) -> Encoding:
        """Put tokens in their places."""
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
    """Leave white space before a token out of its source, unless it is all of it."""
    length = len(text[start:end].lstrip())
    return (end - length, end) if length else (start, end)


def longest_first(a: int, b: int, room: int | None) -> tuple[int, int]:
    """Give the lengths to which two texts of `a` and `b` tokens are cut to fit `room` together.

    Tokens are taken from the longer text until both fit; of two that stay equally long, the one
    that was longer (the second, when neither was) keeps an odd token, as in `tokenizers`.
    """
    if room is None or a + b <= room:
        return a, b
    short = min(a, b)
    kept = (short, room - short) if 2 * short <= room else (room // 2, room - room // 2)
    return kept if a <= b else (kept[1], kept[0])


def windows(length: int, size: int, stride: int) -> Iterator[slice]:
    """Cut `length` tokens into windows of at most `size`, each sharing `stride` with the last.

    Raises:
        UserError: `stride` leaves the windows no way forward.
    """
    if not 0 <= stride < size:
        raise UserError(
            f"stride {stride} must be at least 0 and less than the {size} tokens of text that a "
            "window has room for"
        )
    for start in range(0, max(length - stride, 1), size - stride):
        yield slice(start, min(start + size, length))
