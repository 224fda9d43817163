"""Classify the relation between two entities in a text.

    @ Marie Curie @ was born in # Warsaw # .        →  city_of_birth

Head and tail are put between signs, and the marked text is classified: the "entity marker (punct)"
of Zhou & Chen 2021 (arXiv:2102.01373), for which no vocabulary has to grow. Where a tokenizer lacks
@ or #, the next two of `SIGNS` that it has mark head and tail. Of a text that is too long the
tokens nearest to an entity are kept, and so are all marks.

A label may say that there is no relation; `RelationMetric` does not count it as an answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from jaxtyping import Int

from plainformer.base import UserError, plural
from plainformer.base.words import join_words
from plainformer.corpora import Row
from plainformer.finetune.data.words import Span, Words, move_spans, split_text
from plainformer.finetune.metrics import RelationMetric
from plainformer.finetune.task import check_label
from plainformer.finetune.task_options import (
    LabelOptions,
    PoolingOptions,
    SmoothingOptions,
    TaskOptions,
)
from plainformer.finetune.tasks.classification import (
    ClassExample,
    OneLabel,
    label_names,
    label_of,
)
from plainformer.finetune.tasks.texts import chosen, strings
from plainformer.tokenizer import Encoding, Tokenizer, Tokens

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

ENTITIES = ("head", "tail")
SIGNS = "@#*$%&+=~^|<>/:;!?-_()[].,'"
"""Characters that mark head and tail; the first two that a tokenizer has are used."""
NO_RELATION = ("no_relation", "na", "none", "other")
"""Names of a label for no relation, in any case."""


@dataclass(frozen=True, kw_only=True)
class RelationExample(ClassExample):
    """A text with two entities, head and tail, each a span `text[start:end]`."""

    head: Span
    tail: Span

    @property
    def preview(self) -> str:
        """Return the text with its marks."""
        return marked(self.text, self.head, self.tail, SIGNS[:2])[0]

    def to_words(self) -> Words:
        """Split the text into words, with head and tail fixed."""
        return tuple(split_text(self.text, fixed=(self.head, self.tail)))

    def with_words(self, words: Words) -> "RelationExample":
        """Return the example with other words around the same head and tail."""
        text, (head, tail) = move_spans(self.text, (self.head, self.tail), words)
        return replace(self, text=text, head=head, tail=tail)


@dataclass(frozen=True, kw_only=True)
class RelationOptions(PoolingOptions, LabelOptions, SmoothingOptions):
    """Choose the relation between two entities of a text."""

    name: Literal["relation"] = "relation"


@dataclass(frozen=True, kw_only=True)
class Relation(OneLabel[RelationExample]):
    """Choose the relation between head and tail."""

    Options: ClassVar[type[TaskOptions]] = RelationOptions
    COLUMNS: ClassVar[tuple[str, ...]] = ("text", "words", "head", "tail", "label")
    negative: str | None
    """The label for no relation; None where every label is one."""

    def __post_init__(self) -> None:
        """Check the labels."""
        super().__post_init__()
        check_label("negative", self.negative, self.labels)

    @classmethod
    def fit(cls, config: "FinetuneConfig", examples: Sequence[RelationExample]) -> "Relation":
        """Learn the labels that occur, sorted; one of them may stand for no relation."""
        options = config.task
        assert isinstance(options, RelationOptions)
        labels = label_names(examples)
        found = [label for label in labels if label.lower() in NO_RELATION]
        if len(found) > 1:
            raise UserError(
                f"{examples[0].file}: {' and '.join(found)} say both that there is no relation"
            )
        negative = found[0] if found else None
        return cls(
            labels=labels,
            negative=negative,
            label_smoothing=options.label_smoothing,
            max_length=config.max_length,
        )

    @classmethod
    def read(cls, row: Row, labelled: bool = True) -> RelationExample:
        """Read a row with `text`, `head` and `tail` as [start, end] in characters, and `label`.

        In place of the text it may have a list of `words`; head and tail are then counted in words.
        The end is the first that is outside, as in Python. Head and tail may overlap.
        """
        if not row.has("words"):
            text = row.string("text")
            head, tail = (read_span(row, name, len(text), "character") for name in ENTITIES)
        else:
            text, words = join_words(strings(row, "words"))
            spans = (read_span(row, name, len(words), "word") for name in ENTITIES)
            head, tail = ((words[start][0], words[end - 1][1]) for start, end in spans)
        for name, (start, end) in zip(ENTITIES, (head, tail), strict=True):
            if not text[start:end].strip():
                raise UserError(f"{row.source}: there is nothing at the place of the {name}")
        label = label_of(row, labelled)
        return RelationExample(text=text, head=head, tail=tail, label=label, source=row.source)

    def encodings(self, example: RelationExample, tokenizer: Tokenizer) -> tuple[Encoding, ...]:
        """Encode the marked text as one sequence."""
        signs = known_signs(tokenizer)
        text, marks = marked(example.text, example.head, example.tail, signs)
        tokens = tokenizer.tokens(text)
        room = tokenizer.template.room(self.max_length, is_pair=False)
        assert room is not None
        kept = nearest(tokens, marks, room)
        dropped = len(tokens) - len(kept)
        return (tokenizer.template.encode(chosen(tokens, kept), None, dropped),)

    def metric(self) -> RelationMetric:
        """Measure micro F1 over the relations."""
        return RelationMetric(self.labels, self.negative)


@lru_cache
def known_signs(tokenizer: Tokenizer) -> str:
    """Choose the characters that mark head and tail: the first two that the tokenizer has.

    Raises `UserError` where it has not even two.
    """
    unknown = tokenizer.unk_id if "unk" in tokenizer.special_tokens else None
    found: dict[tuple[int, ...], str] = {}
    for sign in SIGNS:
        ids = tuple(tokenizer.tokens(sign).ids)
        if ids and unknown not in ids:
            found.setdefault(ids, sign)
        if len(found) == 2:
            return "".join(found.values())
    raise UserError(
        f"head and tail are marked with two of {' '.join(SIGNS)}, and the tokenizer has at most "
        "one: take a model whose vocabulary has punctuation"
    )


def marked(text: str, head: Span, tail: Span, signs: str) -> tuple[str, tuple[Span, Span]]:
    """Put markers around head and tail; return the text and both marked spans.

    Markers are surrounded by spaces. Where one entity ends and another begins, the closing marker
    comes first.
    """
    cuts = sorted(
        (place, opens, sign)
        for span, sign in zip((head, tail), signs, strict=True)
        for place, opens in zip(span, (True, False), strict=True)
    )
    whole, before = "", 0
    found: dict[str, list[int]] = {sign: [] for sign in signs}
    for place, _, sign in cuts:
        whole = spaced(spaced(whole, text[before:place]), sign)
        found[sign].append(len(whole) - 1)
        before = place
    (a, b), (c, d) = found.values()
    return spaced(whole, text[before:]), ((a, b + 1), (c, d + 1))


def spaced(before: str, after: str) -> str:
    """Join two texts, with white space between them."""
    is_apart = not before or not after or before[-1].isspace() or after[0].isspace()
    return before + after if is_apart else f"{before} {after}"


def nearest(tokens: Tokens, entities: Sequence[Span], room: int) -> list[int]:
    """Return the positions of the `room` tokens to keep, in order.

    Marks are kept first, then entities, then the tokens nearest to them. Raises `UserError` for
    more marks than `room`.
    """
    if len(tokens) <= room:
        return list(range(len(tokens)))
    places = np.arange(len(tokens))
    starts, ends = np.array(tokens.offsets).T

    def distance(span: Span) -> Int[np.ndarray, " tokens"]:
        (inside,) = np.nonzero((starts < span[1]) & (ends > span[0]))
        away: Int[np.ndarray, " tokens"] = np.maximum(inside[0] - places, places - inside[-1])
        return away.clip(min=0)

    to_entity = np.min([distance(entity) for entity in entities], axis=0)
    marks = [(mark, mark + 1) for start, end in entities for mark in (start, end - 1)]
    to_mark = np.min([distance(mark) for mark in marks], axis=0)
    if np.count_nonzero(to_mark == 0) > room:
        raise UserError(
            f"max_length leaves room for {plural(room, 'token')}: too few to mark head and tail"
        )
    kept: list[int] = np.lexsort((to_mark, to_entity))[:room].tolist()
    return sorted(kept)


def read_span(row: Row, name: str, length: int, unit: str) -> Span:
    """Read the column `name`: [start, end] within a text of `length` units."""
    span = row.items(name)
    if not isinstance(span, list | tuple) or [type(i) for i in span] != [int, int]:
        raise UserError(f"{row.source}: column {name!r} is not [start, end]: {span!r:.40}")
    start, end = span
    if not 0 <= start < end <= length:
        raise UserError(
            f"{row.source}: the {name} [{start}, {end}] is no part of {plural(length, unit)}"
        )
    return start, end
