"""Read the examples that several tasks share: a text, or a text and its pair."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from plainformer.base import UserError
from plainformer.corpora import Row, suffix_of
from plainformer.finetune.data.example import Example
from plainformer.finetune.data.words import Words, join_text, of_part, split_text
from plainformer.tokenizer import Tokens

OVERLAP = 4
"""Neighbouring windows of a long text share 1 / OVERLAP of their tokens."""


@dataclass(frozen=True, kw_only=True)
class TextExample(Example):
    """A text, or a text and its pair; subclasses add the label."""

    text: str
    pair: str | None = None

    @property
    def preview(self) -> str:
        """Return both texts."""
        return self.text if self.pair is None else f"{self.text} ⟷ {self.pair}"

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the text, and the pair if there is one."""
        return (self.text,) if self.pair is None else (self.text, self.pair)

    def with_texts(self, texts: Sequence[str]) -> "TextExample":
        """Return the example with another text, and another pair if it has one."""
        text, *pair = texts
        return replace(self, text=text, pair=pair[0] if pair else None)

    def to_words(self) -> Words:
        """Split each text into words."""
        return tuple(w for part, text in enumerate(self.texts) for w in split_text(text, part))

    def with_words(self, words: Words) -> "TextExample":
        """Join the words of each text."""
        parts = range(len(self.texts))
        return self.with_texts([join_text(of_part(words, part))[0] for part in parts])


TextT = TypeVar("TextT", bound=TextExample)


def read_texts(row: Row, labelled: bool) -> dict[str, Any]:
    """Read the fields of a `TextExample`: columns `text` and, where there is one, `pair`.

    Raises `UserError` for a labelled row with a blank text, or one not accepted in Prodigy.
    """
    text = row.string("text")
    if labelled and "_input_hash" in row.fields and row.fields.get("answer") != "accept":
        answer = row.fields.get("answer")
        raise UserError(
            f"{row.source}: Prodigy's answer is {answer!r}, so the label may be wrong: keep "
            "only the rows that were accepted"
        )
    if labelled and not text.strip():
        raise UserError(f"{row.source}: the text is empty")
    return {"text": text, "pair": row.optional("pair"), "source": row.source}


def chosen(tokens: Tokens, places: Iterable[int]) -> Tokens:
    """Return the tokens at these positions."""
    some = list(places)
    return Tokens(
        [tokens.ids[i] for i in some],
        [tokens.offsets[i] for i in some],
        [tokens.word_ids[i] for i in some],
    )


def strings(row: Row, name: str) -> tuple[str, ...]:
    """Return a field as a list of strings; split a cell at spaces.

    Raises `UserError` for any other value.
    """
    values = row.items(name)
    if isinstance(values, str) and suffix_of(row.file) in (".csv", ".tsv"):
        values = values.split()
    if not isinstance(values, list | tuple) or not all(isinstance(v, str | int) for v in values):
        raise UserError(f"{row.source}: column {name!r} is not a list of texts: {values!r:.40}")
    return tuple(str(value) for value in values)
