"""Define the data of tagging: sentences of words with tags, and predicted entities.

| file                  | a sentence is                                                            |
|-----------------------|--------------------------------------------------------------------------|
| .jsonl .parquet       | a row with the lists `words` and `tags`                                  |
| .csv .tsv             | the same, as lists in cells or parted by spaces; or, under `word` and    |
|                       | `tag`, as many rows as it has words: `corpora.sentence_table`            |
| any other, and a .tsv | lines in CoNLL columns, or CoNLL-U: `corpora.conll`                      |
| without a header      |                                                                          |

An unlabelled row may have `text` in place of words and tags, or beside the words: then they are
looked up in it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from plainformer.base import UserError, plural
from plainformer.base.words import join_words, words_of
from plainformer.corpora import (
    Columns,
    File,
    Row,
    WordsRow,
    has_header,
    read_conll,
    read_rows,
    sentence_table,
    suffix_of,
)
from plainformer.finetune.data.example import Example, Prediction
from plainformer.finetune.data.words import Word, Words
from plainformer.finetune.tasks.tagging.iob import Span, are_entities, iob2, is_tag, spans
from plainformer.finetune.tasks.texts import strings


@dataclass(frozen=True, kw_only=True)
class Sentence(Example):
    """A sentence of words with their tags; `tags` is None where unlabelled."""

    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    text: str
    """The given text, or the joined words."""
    offsets: tuple[tuple[int, int], ...]
    """Start and end of each word in `text`."""
    lines: tuple[int, ...] = ()
    """The line of each word in the file; empty where all words are on one line."""

    @property
    def preview(self) -> str:
        """Return the text."""
        return self.text

    @property
    def stratum(self) -> tuple[str, ...]:
        """Return the types of the entities, sorted."""
        return tuple(sorted({span.type for span in spans(self.tags or ())}))

    def to_words(self) -> Words:
        """Return the words, each with its tag and the entity that it is a part of."""
        entities = enumerate(self._entities)
        owners = {place: number for number, (_, *span) in entities for place in range(*span)}
        tags = self.tags or ("",) * len(self.words)
        found, last = [], 0
        for place, (word, tag) in enumerate(zip(self.words, tags, strict=True)):
            start, end = self.offsets[place]
            found.append(Word(word, self.text[last:start], tag=tag, entity=owners.get(place)))
            last = end
        return tuple(found)

    def with_words(self, words: Words) -> "Sentence":
        """Return the sentence with other words and their tags; entities are then tagged in IOB2."""
        text, offsets = join_words(tuple(word.text for word in words))
        tags = self.tags and tuple(word.tag for word in words)
        if are_entities(self.tags or ()):
            found = []
            for number, (kind, *_) in enumerate(self._entities):
                places = [place for place, word in enumerate(words) if word.entity == number]
                if places:
                    found.append(Span(kind, places[0], places[-1] + 1))
            tags = tuple(iob2(found, len(words)))
        return replace(
            self,
            words=tuple(word.text for word in words),
            tags=tags,
            text=text,
            offsets=tuple(offsets),
            lines=(),
        )

    @property
    def _entities(self) -> list[Span]:
        """Return the entities; none where tags are plain labels."""
        tags = self.tags or ()
        return spans(tags) if are_entities(tags) else []

    def source_of(self, word: int) -> str:
        """Return file and line of a word."""
        return f"{self.file}:{self.lines[word]}" if self.lines else self.source

    def text_of(self, begin: int, end: int) -> str:
        """Return the text of `words[begin:end]`."""
        return self.text[self.offsets[begin][0] : self.offsets[end - 1][1]]


@dataclass(frozen=True)
class Entity:
    """A predicted entity."""

    type: str
    text: str
    words: tuple[int, int]
    """Its words, `words[start:end]`."""
    characters: tuple[int, int]
    """Its characters, `text[start:end]` of the given text or of the joined words."""
    score: float
    """Probability of exactly this entity, not of a longer or shorter one."""


@dataclass(frozen=True)
class Tags(Prediction):
    """The predicted tags of a sentence: IOB2, or plain labels, empty for words that were cut."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    scores: tuple[float, ...]
    """Probability of each tag; 0 for words that were cut."""
    entities: tuple[Entity, ...] | None
    """The entities; None where tags are plain labels."""

    @property
    def confidence(self) -> float:
        """Return the lowest probability of a tag."""
        return min(self.scores, default=1.0)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object, without `entities` for plain labels."""
        found = super().to_json()
        if self.entities is None:
            del found["entities"]
            return found
        return found | {"entities": [asdict(entity) for entity in self.entities]}


def sentence_rows(path: File, columns: Columns) -> Iterator[Row]:
    """Yield a row for each sentence of a file in any layout."""
    if suffix_of(path) == ".json":
        raise UserError(f"{path}: write the JSON as .jsonl, one object per line")
    if suffix_of(path) in (".jsonl", ".parquet"):
        return columns.of(read_rows(path))
    if suffix_of(path) == ".csv" or (suffix_of(path) == ".tsv" and has_header(path, columns.named)):
        return columns.of(sentence_table(path, columns.named))
    return (
        WordsRow({"words": s.words, "tags": s.tags}, s.file, s.line, lines=s.lines)
        for s in read_conll(path, columns.named)
    )


def read_sentence(row: Row, labelled: bool) -> Sentence:
    """Read the sentence of a row; raise `UserError` with file and line for an invalid row."""
    lines = row.lines if isinstance(row, WordsRow) else ()
    if not labelled and not row.has("words"):
        text = row.string("text")
        offsets = words_of(text)
        words = tuple(text[start:end] for start, end in offsets)
        return Sentence(
            words=words, tags=None, text=text, offsets=tuple(offsets), source=row.source
        )
    words = strings(row, "words")
    text, offsets = join_words(words)
    given = row.fields.get("text")
    if not labelled and isinstance(given, str) and given.strip():
        text, offsets = given, offsets_in(given, words, row.source)
    tags = strings(row, "tags") if labelled else None
    sentence = Sentence(
        words=words,
        tags=tags,
        text=text,
        offsets=tuple(offsets),
        lines=lines,
        source=row.source,
    )
    if tags is not None:
        if not words:
            raise UserError(f"{sentence.source}: there are no words")
        if len(tags) != len(words):
            raise UserError(
                f"{sentence.source}: {plural(len(tags), 'tag')} for {plural(len(words), 'word')}"
            )
        for number, tag in enumerate(tags):
            if not tag.strip():
                place = sentence.source_of(number)
                raise UserError(f"{place}: the tag of {words[number]!r} is empty")
    return sentence


def offsets_in(text: str, words: Sequence[str], source: str) -> list[tuple[int, int]]:
    """Find each word after the one before it; raise `UserError` for one that is not there."""
    found, end = list[tuple[int, int]](), 0
    for word in words:
        start = text.find(word, end)
        if start < 0:
            raise UserError(
                f"{source}: word {len(found) + 1}, {word!r:.40}, is not in the text after those "
                "before it: leave the text or the words out"
            )
        end = start + len(word)
        found.append((start, end))
    return found


def plain_tags(sentence: Sentence, tags: Sequence[str], scores: Sequence[float]) -> Tags:
    """Return the prediction of plain labels; words that were cut have an empty label."""
    cut = len(sentence.words) - len(tags)
    return Tags(sentence.words, (*tags, *[""] * cut), (*scores, *[0.0] * cut), None)


def entity_tags(
    sentence: Sentence, scores: Sequence[float], found: Sequence[tuple[Span, float]]
) -> Tags:
    """Return the prediction of entities and their probabilities; words that were cut are O."""
    length = len(sentence.words)
    entities = []
    for span, score in found:
        start, end = sentence.offsets[span.begin][0], sentence.offsets[span.end - 1][1]
        text = sentence.text_of(span.begin, span.end)
        entities.append(Entity(span.type, text, (span.begin, span.end), (start, end), score))
    tags = iob2((span for span, _ in found), length)
    cut = length - len(scores)
    return Tags(sentence.words, tuple(tags), (*scores, *[0.0] * cut), tuple(entities))


def check_scheme(example: Sentence) -> None:
    """Raise `UserError` for the first tag that is neither an entity tag nor O."""
    for place, tag in enumerate(example.tags or ()):
        if not is_tag(tag):
            raise UserError(
                f"{example.source_of(place)}: the tag {tag!r} of {example.words[place]!r} is not "
                "of the form O, B-TYPE, I-TYPE (or E-, S-, M-, L-, U-), as others are"
            )
