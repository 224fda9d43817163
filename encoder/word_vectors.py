"""Load word vectors from the text files of word2vec and GloVe into a table of token embeddings.

    word2vec    400000 300              a first line: the number of words, the size of a vector
                the 0.418 0.24968 …     a word and the numbers of its vector, separated by spaces
    GloVe       the 0.418 0.24968 …     the same without the first line

Mikolov et al. 2013 (arXiv:1301.3781); Pennington et al. 2014, "GloVe". The `.vec` files of fastText
are in word2vec's format. A few words of GloVe's largest file contain spaces.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plainformer.base import UserError, plural

LONGEST_LINE = 1 << 20
"""Bytes of a line at most, since a whole line is held in memory."""
FIRST_LINE = re.compile(r"(\d+) (\d+)")
NOT_TEXT = (
    "not a line of UTF-8 text; a binary file of word2vec has to be written as text first: gensim's "
    "save_word2vec_format with binary=False"
)


@torch.no_grad()
def load_word_vectors(
    table: nn.Embedding, file: str | Path, id_of: Callable[[str], int | None]
) -> dict[str, int]:
    """Copy the vectors of a file into `table`; return the words that were found, with their rows.

        load_word_vectors(encoder.embeddings.tokens, "glove.txt", tokenizer.whole_word_id)

    The other rows keep their values. Of several words with one row, the first is taken: these files
    list frequent words first. The file is read line by line, and checked as a whole before the
    table changes.

    Args:
        table: the token embeddings; its columns are the size of the vectors, which the
            `embedding_size` of an `EncoderConfig` chooses.
        file: the word vectors.
        id_of: returns the row of a word, or None for a word without one; for a dictionary, its
            `get`.

    Raises:
        UserError: the file is missing, empty, cut short or not text, a line has the wrong number of
            columns or a number that is none or not finite, or the vectors do not fit the table.
    """
    file, (rows, size) = Path(file), table.weight.shape
    found: dict[str, int] = {}
    vectors: dict[int, Tensor] = {}
    for word, vector in _read(file, size):
        row = id_of(word)
        if row is None or row in vectors:
            continue
        if not 0 <= row < rows:
            raise UserError(f"{word!r} has id {row}, but the table has only {rows} rows")
        found[word], vectors[row] = row, vector
    if vectors:
        stacked = torch.stack(list(vectors.values()))
        table.weight[list(vectors)] = stacked.to(table.weight)
    return found


def _read(file: Path, size: int) -> Iterator[tuple[str, Float[Tensor, " size"]]]:
    """Yield each word of a file and its vector."""
    count, number = None, 0
    for number, line in _lines(file):
        if number == 1:
            first = FIRST_LINE.fullmatch(line)
            stated = int(first[2]) if first else line.count(" ")
            if stated != size:
                raise UserError(
                    f"{file}: its vectors have {stated} numbers, but the table has {size} columns: "
                    f"build the encoder with embedding_size={stated}"
                )
            if first:
                count = int(first[1])
                continue
        yield _parse(line, size, f"{file}:{number}")
    words = number - (count is not None)
    if not words:
        raise UserError(f"{file} has no word vectors")
    if count not in (None, words):
        raise UserError(
            f"{file} has {words} word vectors, but its first line says {count}: fetch it again"
        )


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield each line with its number from 1, without spaces and the line break at its end."""
    if not file.is_file():
        raise UserError(f"there is no file {file}")
    number = 0
    with file.open("rb") as stream:
        while raw := stream.readline(LONGEST_LINE + 1):
            number += 1
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError:
                raise UserError(f"{file}:{number}: {NOT_TEXT}") from None
            if len(raw) > LONGEST_LINE:
                raise UserError(f"{file}:{number}: {NOT_TEXT}")
            yield number, line.rstrip(" \r\n")


def _parse(line: str, size: int, where: str) -> tuple[str, Float[Tensor, " size"]]:
    """Split a line into its word, which may contain spaces, and its vector."""
    word, *columns = line.rsplit(" ", size)
    last = word.rpartition(" ")[2]
    if len(columns) < size or (last != word and _number(last) is not None):
        found = plural(line.count(" "), "number")
        raise UserError(f"{where}: the word is followed by {found}, not by {size}")
    numbers = [_number(column) for column in columns]
    if None in numbers:
        raise UserError(f"{where}: {columns[numbers.index(None)]!r} is not a number")
    vector = torch.tensor(numbers, dtype=torch.float32)
    if not vector.isfinite().all():
        raise UserError(f"{where}: the vector of {word!r} has a number that is not finite")
    return word, vector


def _number(column: str) -> float | None:
    """Return a column as a number; None if it is none."""
    try:
        return float(column)
    except ValueError:
        return None
