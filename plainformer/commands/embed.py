"""`plainformer embed FOLDER --text … | --file F --out vectors.npy`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from cellar import UserError, at_least, atomic_path, check_bounds
from plainformer.options import parse


@dataclass(frozen=True)
class EmbedOptions:
    """Turn sentences into vectors: row i of the file is text i, float32, for numpy.load.

    The product of two rows is the cosine of their angle, as long as they are normalised.
    """

    model: tyro.conf.Positional[Path]
    """Folder of an encoder with its tokenizer, such as a sentence-transformers model."""

    out: Path
    """The file for the vectors: a .npy."""

    text: tuple[str, ...] = ()
    """Texts to embed."""

    file: Path | None = None
    """A file of texts: a line each, or rows with a column `text`; blank lines count for nothing."""

    pooling: Literal["mean", "cls"] = "mean"
    """A text is the mean of its tokens, or its first token."""

    normalise: bool = True
    """Scale every vector to length 1."""

    max_length: int | None = None
    """Cut a text to so many tokens; by default to what the model takes."""

    int8: bool = False
    """Round the matrices of the blocks to 8 bits, which a CPU multiplies faster. `evaluate --int8`
    tells what it costs."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, before any work is done."""
        check_bounds(self, max_length=at_least(3))


def run(arguments: Sequence[str]) -> None:
    """Embed, and write the vectors."""
    options = parse(EmbedOptions, "embed", arguments)
    if bool(options.text) == (options.file is not None):
        raise UserError("give either --text or --file")
    if options.out.suffix != ".npy":
        raise UserError(f"{options.out} must end in .npy, as numpy's files do")
    import numpy as np

    from finetune import Embedder

    texts = list(options.text) if options.file is None else read(options.file)
    embedder = Embedder.load(
        options.model, options.pooling, options.normalise, options.max_length, options.int8
    )
    vectors = embedder(texts)
    with atomic_path(options.out) as temporary, temporary.open("wb") as file:
        np.save(file, vectors, allow_pickle=False)
    print(f"{len(vectors):,} vectors of {vectors.shape[1]} numbers are in {options.out}")


def read(file: Path) -> list[str | tuple[str, str]]:
    """The texts, or pairs, of a file."""
    from corpora import has_rows, read_rows, read_texts

    if not has_rows(file):
        return list(read_texts(file))
    texts: list[str | tuple[str, str]] = []
    for row in read_rows(file):
        text = row.string("text")
        pair = row.string("pair") if row.fields.get("pair") is not None else None
        texts.append(text if pair is None else (text, pair))
    return texts
