"""Tagged words in columns, as in the CoNLL shared tasks.

A word a line, its columns parted by spaces or tabs: the first is the word, the last its tag. A
blank line ends a sentence; a line that begins with -DOCSTART- parts documents and is no word.
(Tjong Kim Sang & De Meulder, 2003, https://aclanthology.org/W03-0419)
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cellar import UserError
from corpora.lines import read_lines


@dataclass(frozen=True, slots=True)
class Tagged:
    """One sentence: as many tags as words, and where its first word stands."""

    words: list[str]
    tags: list[str]
    file: Path
    line: int


def read_conll(path: str | Path) -> Iterator[Tagged]:
    """Give the sentences of a file one by one.

    Raises UserError for a line without a tag, a line with another number of columns than the lines
    before it, a file without words, and the faults of `corpora.lines.read_lines`.
    """
    empty = True
    for sentence in parse_conll(read_lines(path), Path(path)):
        empty = False
        yield sentence
    if empty:
        raise UserError(f"{path} holds no words")


def parse_conll(lines: Iterable[tuple[int, str]], file: Path) -> Iterator[Tagged]:
    """Give the sentences of numbered lines; `file` is named where they are wrong."""
    words: list[str] = []
    tags: list[str] = []
    start, width = 1, 0
    for number, line in lines:
        # Only blanks and tabs part columns: an ideographic space may be a word.
        columns = re.split(r"[ \t]+", line.strip(" \t\r\n"))
        if columns[0] in ("", "-DOCSTART-"):
            if words:
                yield Tagged(words, tags, file, start)
                words, tags = [], []
            continue
        width = width or len(columns)
        if len(columns) < 2:
            raise UserError(f"{file}:{number}: no tag after the word {columns[0]!r}")
        if len(columns) != width:
            raise UserError(
                f"{file}:{number}: {len(columns)} columns, where the lines before have {width}"
            )
        start = start if words else number
        words.append(columns[0])
        tags.append(columns[-1])
    if words:
        yield Tagged(words, tags, file, start)
