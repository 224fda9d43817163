"""Read tagged sentences from a table with a header: one sentence or one word per row.

    words,tags                    word,tag                 sentence,word,tag
    "EU rejects","B-ORG O"        EU,B-ORG                 1,EU,B-ORG
                                  rejects,O                1,rejects,O
                                  (blank line)             2,Peter,B-PER

With a column `word` (or the column named as such), a row is a word. A sentence then ends at a blank
line or, with a column `sentence`, where its value changes; an empty cell continues the sentence.
"""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from plainformer.base import UserError
from plainformer.corpora.conll import MAX_WORDS, is_header
from plainformer.corpora.files import File, check_file
from plainformer.corpora.lines import read_lines
from plainformer.corpora.rows import Row
from plainformer.corpora.tables import read_records

MAX_SINGLE_WORDS = 20
"""Consecutive one-word sentences after which each row is taken for a word."""

Words = list[tuple[int, dict[str, str]]]
"""The line and the cells of each word."""


@dataclass(frozen=True, slots=True)
class WordsRow(Row):
    """A sentence whose words are on separate lines."""

    lines: tuple[int, ...] = ()


def has_header(file: File, columns: Mapping[str, str]) -> bool:
    """Tell whether the first line of a tab-separated table names its columns."""
    _, first = next(read_lines(file), (1, ""))
    cells = [cell.strip().strip('"') for cell in first.split("\t")]
    return is_header(cells, columns.values())


def sentence_table(file: File, columns: Mapping[str, str]) -> Iterator[Row]:
    """Yield a row for each sentence.

    Raises:
        UserError: the file has no rows or no sentence boundaries, or the words of a sentence are
            not consecutive.
    """
    file = check_file(file)
    word = columns.get("word", "word")
    empty = True
    words: Words = []
    seen: set[str] = set()
    now = ""
    blank = False
    singles = 0
    for line, cells in read_records(file):
        empty = empty and not cells
        if cells and word not in cells:
            alone = _alone(cells, columns, file)
            singles = singles + 1 if alone else -MAX_SINGLE_WORDS
            if singles == MAX_SINGLE_WORDS:
                raise UserError(
                    f"{file}: each row holds one word: use --columns word=COLUMN tag=COLUMN "
                    "sentence=COLUMN instead of words and tags"
                )
            yield Row(dict(cells), file, line)
            continue
        ends = not cells
        mark = cells.get(columns.get("sentence", "sentence"))
        if mark is not None:
            ends = mark not in ("", now)
            if ends and mark in seen:
                raise UserError(
                    f"{file}:{line}: sentence {mark!r} continues here: sort the rows by sentence"
                )
            now = mark or now
            seen.add(now)
        blank = blank or ends
        if ends and words:
            yield _sentence(words, file, word, columns)
            words = []
        if cells:
            words.append((line, cells))
        if len(words) > MAX_WORDS and not blank:
            raise UserError(
                f"{file}: sentences are not separated: leave a blank line after each, or name a "
                "column that numbers the sentences: --columns sentence=COLUMN"
            )
    if words:
        near = [name for name in words[0][1] if name.casefold().startswith(("sentence", "sent_"))]
        if near and not blank and len({cells[near[0]] for _, cells in words}) > 1:
            raise UserError(
                f"{file}: sentences are not separated; did you mean --columns "
                f"{shlex.quote(f'sentence={near[0]}')}?"
            )
        yield _sentence(words, file, word, columns)
    if empty:
        raise UserError(f"{file} has no rows")


def _alone(cells: Mapping[str, str], columns: Mapping[str, str], file: File) -> bool:
    """Tell whether a row is one word; raise `UserError` for a table without words or text."""
    words = columns.get("words", "words")
    words = words if words in cells else "words"  # as named in training, or the default
    if words in cells:
        return len(cells[words].split()) == 1 and cells[words][:1] != "["
    if columns.get("text", "text") not in cells:
        raise UserError(
            f"{file}: no column 'words' (a row is a sentence) or 'word' (it is a word); columns: "
            f"{', '.join(cells)}; name them: --columns word=COLUMN tag=COLUMN"
        )
    return False


def _sentence(words: Words, file: File, word: str, columns: Mapping[str, str]) -> Row:
    """Build the row of a sentence, with a list of values for each column."""
    lines = tuple(line for line, _ in words)
    for line, cells in words:
        if not cells[word].strip():
            raise UserError(f"{file}:{line}: the word is empty")
    fields = {name: [cells[name] for _, cells in words] for name in words[0][1]}
    tag = columns.get("tag", "tag")
    named = {"words": fields[word]} | ({"tags": fields[tag]} if tag in fields else {})
    return WordsRow(fields | named, file, lines[0], lines=lines)
