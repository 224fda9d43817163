"""One sequence, ready for the model: special tokens around one text or two, cut to a length.

    single   [CLS] a [SEP]              type ids 0 0 0
    pair     [CLS] a [SEP] b [SEP]      type ids 0 0 0 1 1

The template is BERT's (Devlin et al., 2019) for tokenizers that are trained here; a loaded
`tokenizer.json` brings its own, such as RoBERTa's `<s> a </s></s> b </s>`. Truncation is
"longest first" and windows overlap by `stride` tokens, both as in Hugging Face `tokenizers`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from cellar import UserError

Span = tuple[int, int]
Part = tuple[int | Literal["a", "b"], int]
"""One place of a template: a special token's id or a text, and its type id."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text as tokens, without special tokens.

    `text[start:end]` is the source of a token with offsets `(start, end)`, without the white space
    before it; `word_ids` counts the words of the text from 0.
    """

    ids: list[int]
    offsets: list[Span]
    word_ids: list[int]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, where: slice) -> "Tokens":
        if where == slice(len(self)):
            return self
        return Tokens(self.ids[where], self.offsets[where], self.word_ids[where])


@dataclass(frozen=True, slots=True)
class Encoding:
    """One sequence for the model; every list has one entry a token.

    `offsets` point into the text, or into its pair where `sequence_ids` is 1, and are `(0, 0)` for
    the template's special tokens, whose `word_ids` and `sequence_ids` are None and whose
    `special_tokens_mask` is 1. `dropped` is the number of tokens that truncation left out.
    """

    ids: list[int]
    type_ids: list[int]
    offsets: list[Span]
    word_ids: list[int | None]
    special_tokens_mask: list[int]
    sequence_ids: list[int | None]
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Template:
    """Where the special tokens stand around one text and around a pair."""

    single: tuple[Part, ...]
    pair: tuple[Part, ...]

    @classmethod
    def bert(cls, cls_id: int, sep_id: int) -> "Template":
        """Give `[CLS] a [SEP]` and `[CLS] a [SEP] b [SEP]`."""
        single: tuple[Part, ...] = ((cls_id, 0), ("a", 0), (sep_id, 0))
        return cls(single, (*single, ("b", 1), (sep_id, 1)))

    def parts(self, is_pair: bool) -> tuple[Part, ...]:
        """Give the places of one text or of a pair."""
        return self.pair if is_pair else self.single

    def room(self, max_length: int | None, is_pair: bool) -> int | None:
        """Give how many tokens of text fit beside the special tokens; None is without limit.

        Raises:
            UserError: `max_length` has no place for a single token of text.
        """
        if max_length is None:
            return None
        special = sum(isinstance(part, int) for part, _ in self.parts(is_pair))
        if max_length <= special:
            raise UserError(
                f"max_length {max_length} is too short: it leaves no room for text beside "
                f"{special} special tokens"
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
        ids: list[int] = []
        type_ids: list[int] = []
        offsets: list[Span] = []
        word_ids: list[int | None] = []
        special: list[int] = []
        sequence_ids: list[int | None] = []
        for part, type_id in self.parts(b is not None):
            text = a if part == "a" else b
            owner: int | None = None
            count = 1
            if isinstance(part, int):
                ids.append(part)
                offsets.append((0, 0))
                word_ids.append(None)
            elif text is not None:
                count, owner = len(text), 0 if part == "a" else 1
                ids += text.ids
                offsets += text.offsets
                word_ids += text.word_ids
            type_ids += [type_id] * count
            special += [int(owner is None)] * count
            sequence_ids += [owner] * count
        return Encoding(ids, type_ids, offsets, word_ids, special, sequence_ids, dropped)


def trim(text: str, start: int, end: int) -> Span:
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
