"""`plainformer embed FOLDER --text … | --file F --out vectors.npy`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plainformer.base import (
    UserError,
    at_least,
    atomic_path,
    check_bounds,
    is_stream,
    plural,
    refuse_same_file,
)
from plainformer.line import Positional
from plainformer.options import parse


@dataclass(frozen=True)
class EmbedOptions:
    """Embed sentences as vectors: row i of the file is text i, float32, for numpy.load.

    They are what `SentenceTransformer(FOLDER).encode` gives, where the folder is one of
    sentence-transformers. The product of two rows of length 1 is the cosine of their angle.
    """

    model: Positional[Path]
    """Folder of an encoder with its tokenizer, such as a sentence-transformers model."""

    out: Path
    """The file for the vectors: a .npy, a pipe, or /dev/stdout."""

    text: tuple[str, ...] = ()
    """Texts to embed."""

    file: Path | None = None
    """A file of texts: a line each, or rows with a column `text`; blank lines count for nothing."""

    pooling: Literal[
        "declared", "mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"
    ] = "declared"
    """Pooling of the token vectors. By default as the folder declares it, as in
    sentence-transformers; if it declares none, the mean."""

    normalise: Literal["declared", "yes", "no"] = "declared"
    """Scale every vector to length 1. By default as the folder declares it; if it declares nothing,
    yes."""

    max_length: int | None = None
    """Cut texts to this many tokens; by default as the folder declares it, or to the model's limit.
    """

    prompt: str | None = None
    """Name of a prompt in the folder, such as `query`, to put before each text; '' for none. By
    default the folder's default prompt, if it declares one."""

    int8: bool = False
    """Round the matrices of the blocks to 8 bits, which a CPU multiplies faster. `evaluate --int8`
    tells what it costs."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, max_length=at_least(3))


def run(arguments: Sequence[str]) -> None:
    """Embed, and write the vectors."""
    options = parse(EmbedOptions, "embed", arguments)
    if bool(options.text) == (options.file is not None):
        raise UserError("give either --text or --file")
    to_stream = is_stream(options.out)
    if options.out.suffix != ".npy" and not to_stream:
        raise UserError(f"{options.out} must end in .npy, as numpy's files do")
    import numpy as np

    from plainformer.finetune import Embedder

    refuse_same_file(options.out, options.file)
    with atomic_path(options.out) as temporary:
        texts = list(options.text) if options.file is None else read(options.file)
        embedder = Embedder.load(
            options.model,
            pooling=None if options.pooling == "declared" else options.pooling,
            normalise={"declared": None, "yes": True, "no": False}[options.normalise],
            max_length=options.max_length,
            int8=options.int8,
            prompt=options.prompt,
        )
        vectors = embedder(texts)
        with temporary.open("wb") as file:
            np.save(file, vectors, allow_pickle=False)
    verb = "is" if len(vectors) == 1 else "are"
    said = f"{plural(len(vectors), 'vector')} of {vectors.shape[1]} numbers {verb} in {options.out}"
    print(said, file=sys.stderr if to_stream else sys.stdout)  # the pipe may be our output


def read(file: Path) -> list[str | tuple[str, str]]:
    """The texts, or pairs, of a file."""
    from plainformer.corpora import has_rows, read_rows, read_texts
    from plainformer.corpora.lines import read_lines

    if not has_rows(file):
        lines = list(read_texts(file))
        if file.is_file() and (blank := sum(not line.strip() for _, line in read_lines(file))):
            verb = "has" if blank == 1 else "have"
            print(f"{plural(blank, 'blank line')} of {file} {verb} no vector", file=sys.stderr)
        return list[str | tuple[str, str]](lines)
    texts: list[str | tuple[str, str]] = []
    for row in read_rows(file):
        text = row.string("text")
        pair = row.string("pair") if row.fields.get("pair") is not None else None
        texts.append(text if pair is None else (text, pair))
    return texts
