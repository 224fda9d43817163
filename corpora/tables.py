"""Read CSV and TSV tables with a header, as spreadsheets, pandas and R write them.

| suffix | delimiter                                                              | quotes         |
|--------|------------------------------------------------------------------------|----------------|
| .csv   | the most frequent of `,` `;` tab `|` in the header, or that of `sep=;` | as in RFC 4180 |
| .tsv   | a tab                                                                  | part of a cell |

A .tsv with a quoted header, as R writes it, or without a tab is read like a .csv. In any .tsv, a
cell in quotes whose inner quotes are all doubled was quoted by a program, and is unquoted. Columns
without a name (row numbers, columns added by Excel) and records of delimiters alone are skipped.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator

from plainformer.base import UserError, plural
from plainformer.corpora.files import File, suffix_of
from plainformer.corpora.lines import LONGEST_LINE, read_lines
from plainformer.corpora.rows import MISSING, Doubtful, Row

DELIMITERS = (",", ";", "\t", "|")
DELIMITER_NAMES = {"\t": "a tab"}

Record = tuple[int, list[str]]
"""The first line of a record, and its cells; none for a blank line."""


def read_table(file: File, watch: Callable[[int], object] | None = None) -> Iterator[Row]:
    """Yield the rows of a .csv or .tsv file.

    Raises:
        UserError: a record has more or fewer cells than the header.
    """
    return (Row(cells, file, line) for line, cells in read_records(file, watch) if cells)


def read_records(
    file: File, watch: Callable[[int], object] | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line of each record and its cells by column; no cells for a blank record."""
    lines = read_lines(file, watch)
    number, first = next(lines, (1, ""))
    declared = re.fullmatch(r'"?sep=(.)"?\s*', first, re.IGNORECASE)
    if declared:
        number, first = next(lines, (2, ""))
    is_tsv = suffix_of(file) == ".tsv"
    delimiter = declared[1] if declared else delimiter_of(first, is_tsv)
    whole = _chained((number, first), lines)
    if is_tsv and delimiter == "\t" and not first.startswith('"'):
        records = _plain(whole)
    else:
        records = _quoted(whole, file, delimiter)
    yield from _under_header(records, file, delimiter)


def delimiter_of(header: str, is_tsv: bool) -> str:
    """Find the most frequent delimiter of a header, or the tab of a .tsv."""
    outside = re.sub(r'"(?:[^"]|"")*"', "", header)
    most = max(DELIMITERS, key=outside.count)
    return "\t" if is_tsv and ("\t" in outside or most not in outside) else most


def _chained(first: tuple[int, str], rest: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield first
    yield from rest


def _quoted(lines: Iterator[tuple[int, str]], file: File, delimiter: str) -> Iterator[Record]:
    csv.field_size_limit(LONGEST_LINE)
    taken: list[tuple[int, str]] = []

    def remembered() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line[1]

    records = csv.reader(remembered(), strict=True, delimiter=delimiter)
    while True:
        taken.clear()
        try:
            cells = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(f"{file}:{taken[0][0]}: not a valid CSV record: {error}") from error
        raw = "".join(line for _, line in taken)
        if not raw.strip(delimiter + "\r\n"):
            cells = []
        if not MISSING.isdisjoint(cells):
            mark = re.escape(delimiter)
            begins = re.findall(rf'("(?:[^"]|"")*"[^{mark}]*|[^{mark}]*)(?:{mark}|$)', raw)
            quoted = [cell.startswith('"') for cell in begins[: len(cells)]]
            cells = [c if q else _cell(c) for c, q in zip(cells, quoted, strict=True)]
        yield taken[0][0], cells


def _plain(lines: Iterable[tuple[int, str]]) -> Iterator[Record]:
    for number, line in lines:
        content = line.rstrip("\r\n")
        if content.strip("\t"):
            yield number, [_unquoted(_cell(cell)) for cell in content.split("\t")]
        else:
            yield number, []


def _cell(cell: str) -> str:
    return Doubtful(cell) if cell in MISSING else cell


def _unquoted(cell: str) -> str:
    if '""' in cell and len(cell) > 2 and cell[0] == cell[-1] == '"':
        inner = cell[1:-1].replace('""', "\0")
        return cell if '"' in inner else inner.replace("\0", '"')
    return cell


def _under_header(
    records: Iterator[Record], file: File, delimiter: str
) -> Iterator[tuple[int, dict[str, str]]]:
    number, cells = next(records, (1, []))
    header = [" ".join(name.split()) for name in cells]
    named = [name for name in header if name]
    twice = [name for name in dict.fromkeys(named) if named.count(name) > 1]
    if twice or not named:
        fault = f"the header names {twice[0]!r} twice" if twice else "the header is blank"
        raise UserError(f"{file}:{number}: {fault}")
    for line, values in records:
        if values and len(values) != len(header):
            separated = (
                ""
                if delimiter == ","
                else f", separated by {DELIMITER_NAMES.get(delimiter, delimiter)}"
            )
            raise UserError(
                f"{file}:{line}: {plural(len(values), 'value')} under "
                f"{plural(len(header), 'column')}: {', '.join(header)}{separated}"
            )
        row = dict(zip(header, values, strict=True)) if values else {}
        row.pop("", None)
        yield line, row
