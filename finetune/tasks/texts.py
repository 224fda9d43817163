"""The data shape that several tasks share: a text, or a text and its pair."""

from collections.abc import Iterable
from dataclasses import dataclass

from plainformer.base import UserError
from plainformer.corpora import Row
from plainformer.tokenizer import Tokens


@dataclass(frozen=True)
class Text:
    """A text, maybe with its pair, and where it stands."""

    text: str
    pair: str | None
    place: str

    @classmethod
    def of(cls, row: Row, labelled: bool = True) -> "Text":
        """The columns `text` and, where there is one, `pair`.

        Raises `UserError` for a blank text that is labelled: there is nothing to learn from it.
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
        return cls(text, row.optional("pair"), row.source)

    @property
    def shown(self) -> str:
        """Both texts, as a person reads them."""
        return self.text if self.pair is None else f"{self.text} ⟷ {self.pair}"


@dataclass(frozen=True)
class TextExample:
    """An example that is a text, and something that is true of it."""

    text: Text

    @property
    def place(self) -> str:
        """File and line."""
        return self.text.place

    @property
    def shown(self) -> str:
        """The text, as a person reads it."""
        return self.text.shown


def chosen(tokens: Tokens, places: Iterable[int]) -> Tokens:
    """The tokens at these places."""
    some = list(places)
    return Tokens(
        [tokens.ids[i] for i in some],
        [tokens.offsets[i] for i in some],
        [tokens.word_ids[i] for i in some],
    )
