"""Embed the texts of a file, and write their vectors as a .npy file."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from plainformer.base import UserError, atomic_path, is_stream, plural, refuse_same_file
from plainformer.corpora import has_rows, read_lines, read_rows, read_texts
from plainformer.finetune.embedder import Embedder
from plainformer.training import is_main, processes

TextOrPair = str | tuple[str, str]


def check_vector_file(out: Path, source: Path | None) -> None:
    """Raise `UserError` where vectors cannot be written to `out`, or it is the file of texts."""
    if out.suffix != ".npy" and not is_stream(out):
        raise UserError(f"{out} must end in .npy, as numpy's files do")
    refuse_same_file(out, source)


def read_texts_or_pairs(file: Path) -> list[TextOrPair]:
    """Read the texts of a file: its lines, or the columns `text` and `pair` of its rows.

    Blank lines are left out, and counted on standard error.
    """
    texts: list[TextOrPair] = []
    if has_rows(file):
        for row in read_rows(file):
            text, pair = row.string("text"), row.optional("pair")
            texts.append(text if pair is None else (text, pair))
        return texts
    texts += read_texts(file)
    if (
        is_main()
        and file.is_file()
        and (blank := sum(not line.strip() for _, line in read_lines(file)))
    ):
        verb = "has" if blank == 1 else "have"
        print(f"{plural(blank, 'blank line')} of {file} {verb} no vector", file=sys.stderr)
    return texts


def write_vectors(embedder: Embedder, texts: Sequence[TextOrPair], out: Path) -> int:
    """Embed the texts, and write the vectors when they are complete: row i is text i.

    Of several processes each computes a part, and the main one writes. Return the size of a vector.
    """
    with processes():
        if not is_main():
            return int(embedder(texts).shape[1])
        with atomic_path(out) as temporary:
            vectors = embedder(texts)
            with temporary.open("wb") as file:
                np.save(file, vectors, allow_pickle=False)
        return int(vectors.shape[1])
