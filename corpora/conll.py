"""Read tagged words in columns, as in the CoNLL shared tasks.

A file has one word per line, in columns separated by spaces or tabs; a blank line ends a sentence.
A line that begins with -DOCSTART- separates documents and is not a word. (Tjong Kim Sang & De
Meulder, 2003, https://aclanthology.org/W03-0419)

| first sentence of the file                               | word column   | tag column            |
|----------------------------------------------------------|---------------|-----------------------|
| a header: `word … tag`                                   | by its name   | by its name           |
| ten columns separated by tabs, the first numbers words   | the second    | the fourth (CoNLL-U)  |
| three columns, the first numbers words                   | the second    | the third             |
| another number of columns, the first numbers words       | an error, unless columns are named    |
| anything else                                            | the first     | the last              |

`columns` overrides this: {"words": "2", "tags": "4"}, by number from 1 or by name in a header.
Comments are skipped, and so are ranges (1-2) and empty nodes (8.1) of CoNLL-U.
(https://universaldependencies.org/format.html)
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from plainformer.base import UserError, did_you_mean
from plainformer.corpora.files import File
from plainformer.corpora.lines import read_lines

WORD_NAMES = ("word", "words", "token", "tokens", "form")
TAG_NAMES = (
    "tag",
    "tags",
    "label",
    "labels",
    "ner",
    "ner_tag",
    "ner_tags",
    "pos",
    "pos_tag",
    "upos",
)
CONLLU_COLUMNS = 10
MAX_WORDS = 1000
"""Words of a file without sentence boundaries after which it is refused."""
SAMPLE = 20
"""Sentences at the start of a file by which comments are recognised."""
_INDEX = re.compile(r"\d+(?:[-.]\d+)?")
_BETWEEN = re.compile(r"\d+[-.]\d+")
_ALL: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Tagged:
    """A sentence: its words, and the tag and the line of each word."""

    words: list[str]
    tags: list[str]
    file: File
    lines: tuple[int, ...]

    @property
    def line(self) -> int:
        """Return the line of the first word."""
        return self.lines[0]


@dataclass(frozen=True, slots=True)
class Line:
    """The columns of one line."""

    number: int
    columns: list[str]
    has_tab: bool


def read_conll(path: File, columns: Mapping[str, str] = _ALL) -> Iterator[Tagged]:
    """Yield the sentences of a file.

    Raises:
        UserError: a line has no tag, or another number of columns than the lines before it; the
            file has no words, or is refused by `corpora.lines.read_lines`.
    """
    empty = True
    for sentence in parse_conll(read_lines(path), path, columns):
        empty = False
        yield sentence
    if empty:
        raise UserError(f"{path} has no words")


def parse_conll(
    lines: Iterable[tuple[int, str]], file: File, columns: Mapping[str, str] = _ALL
) -> Iterator[Tagged]:
    """Yield the sentences of numbered lines; errors name `file`."""
    raw = _blocks(lines, file)
    sample = list(islice(raw, SAMPLE))
    commented = _are_commented(sample)
    blocks = filter(None, (_words(block, commented) for block in chain(sample, raw)))
    head: list[list[Line]] = []
    for block in blocks:  # one word is too few to recognise a column of numbers
        head.append(block)
        if len(block) > 1:
            break
    if not head:
        return
    first = head[0][0]
    if is_header(first.columns, columns.values()):
        word, tag = _by_name(first, columns, file)
        head[0] = head[0][1:]
    else:
        word, tag = _layout(head[-1], columns, file)
    width = len(first.columns)
    if max(word, tag) >= width:
        raise UserError(
            f"{file}:{first.number}: {width} columns, where a later sentence has "
            f"{len(head[-1][0].columns)}"
        )
    is_conllu = width == CONLLU_COLUMNS and _has_indices(head[-1])
    for block in chain(head, blocks):
        kept = [line for line in block if not (is_conllu and _BETWEEN.fullmatch(line.columns[0]))]
        for line in kept:
            if len(line.columns) < 2:
                raise UserError(f"{file}:{line.number}: no tag after the word {line.columns[0]!r}")
            if len(line.columns) != width:
                raise UserError(
                    f"{file}:{line.number}: {len(line.columns)} columns, where the lines before "
                    f"have {width}"
                )
        if kept:
            words, tags = ([line.columns[i] for line in kept] for i in (word, tag))
            yield Tagged(words, tags, file, tuple(line.number for line in kept))


def is_header(cells: Sequence[str], named: Iterable[str] = ()) -> bool:
    """Tell whether the first line of a file is a header, also by the `named` columns."""
    if any(name in cells for name in named if not name.isdecimal()):
        return True
    folded = {cell.strip().casefold() for cell in cells}
    return not folded.isdisjoint(WORD_NAMES) and (
        len(cells) == 1 or not folded.isdisjoint((*TAG_NAMES, "id", "sentence"))
    )


def _blocks(lines: Iterable[tuple[int, str]], file: File) -> Iterator[list[Line]]:
    """Yield the lines of each sentence."""
    block: list[Line] = []
    is_parted = False
    for number, text in lines:
        columns = _columns(text)
        if text.startswith("#begin document"):
            raise UserError(
                f"{file}:{number}: CoNLL-2012 is not supported: write a word and its tag per line"
            )
        if columns[0] in ("", "-DOCSTART-"):
            if block:
                yield block
            is_parted = is_parted or bool(block)
            block = []
        else:
            block.append(Line(number, columns, "\t" in text.strip()))
        if len(block) > MAX_WORDS and not is_parted:
            raise UserError(f"{file}: sentences are not separated: leave a blank line after each")
    if block:
        yield block


def _columns(text: str) -> list[str]:
    content = text.rstrip("\r\n")
    by_tabs = content.split("\t")
    if len(by_tabs) == CONLLU_COLUMNS and _INDEX.fullmatch(by_tabs[0]):
        return by_tabs  # a form may contain spaces
    # Only blanks and tabs separate columns: an ideographic space may be a word.
    return re.split(r"[ \t]+", content.strip(" \t"))


def _are_commented(blocks: Iterable[Sequence[Line]]) -> bool:
    """Tell whether each of several sentences begins with a comment: # and what is no tag."""
    many = [block for block in blocks if len(block) > 1]
    tags = {line.columns[-1] for block in many for line in block[1:]}
    return len(many) > 1 and all(
        block[0].columns[0] == "#" and block[0].columns[-1] not in tags for block in many
    )


def _words(block: list[Line], commented: bool) -> list[Line]:
    """Drop leading comments: lines that begin with # and have other columns than a word.

    Where the sentences are `commented`, the first such line is one, whatever its columns.
    """
    start = 0
    while start < len(block) and block[start].columns[0].startswith("#"):
        line, rest = block[start], block[start + 1 :]
        is_word = not rest or len(line.columns) == len(rest[-1].columns)
        if is_word and rest and line.columns[0] == "#":
            is_word = line.has_tab == rest[-1].has_tab and not (commented and start == 0)
        if is_word and not (len(line.columns) > 2 and rest and _has_indices(rest)):
            break
        start += 1
    return block[start:]


def _has_indices(block: Sequence[Line]) -> bool:
    """Tell whether the first column holds indices as in CoNLL-U."""
    return all(_INDEX.fullmatch(line.columns[0]) for line in block)


def _numbers_words(indices: Sequence[str]) -> bool:
    """Tell whether the first column numbers the words, from 0 or 1."""
    return any(list(indices) == [str(n + start) for n in range(len(indices))] for start in (0, 1))


def _by_name(header: Line, columns: Mapping[str, str], file: File) -> tuple[int, int]:
    """Find the columns of words and tags by a header."""
    names = header.columns
    indices = []
    for plural, singular in (("words", "word"), ("tags", "tag")):
        given = columns.get(singular) or columns.get(plural)
        known = [given] if given else [singular, plural]
        found = [name for name in known if name in names]
        if not found:
            raise UserError(
                f"{file}:{header.number}: no column {known[0]!r}; columns: {', '.join(names)}"
                f"{did_you_mean(known[0], names) or f'; say which: --columns {plural}=COLUMN'}"
            )
        indices.append(names.index(found[0]))
    return indices[0], indices[1]


def _layout(block: Sequence[Line], columns: Mapping[str, str], file: File) -> tuple[int, int]:
    """Find the columns of words and tags by a sentence, if possible one of several words."""
    width, number = len(block[0].columns), block[0].number
    given = [columns.get(name) or columns.get(f"{name}s") for name in ("word", "tag")]
    for column in given:
        if column and not (column.isdecimal() and 1 <= int(column) <= width):
            raise UserError(
                f"{file}:{number}: there is no header with a column {column!r}: give its "
                f"number, from 1 to {width}"
            )
    word, tag = 0, width - 1
    indices = [line.columns[0] for line in block]
    if width == CONLLU_COLUMNS and _has_indices(block):
        word, tag = 1, 3
    elif len(block) > 1 and _numbers_words(indices):
        if width != 3 and not any(given):
            raise UserError(
                f"{file}:{number}: the first of {width} columns numbers the words: name those of "
                "word and tag by number: --columns words=2 tags=3"
            )
        word = 1
    if width < 2:
        raise UserError(f"{file}:{number}: no tag after the word {block[0].columns[0]!r}")
    return (int(given[0]) - 1 if given[0] else word, int(given[1]) - 1 if given[1] else tag)
