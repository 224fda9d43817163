"""`plainformer embed FOLDER --text … | --file F --out vectors.npy`."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from plainformer.base import Inference, UserError, at_least, check_bounds, is_stream, plural
from plainformer.line import Positional
from plainformer.options import parse


@dataclass(frozen=True)
class EmbedOptions:
    """Embed sentences as vectors: row i of the file is text i, float32, for numpy.load.

    For a sentence-transformers folder the vectors are those of `SentenceTransformer.encode`. The
    dot product of two rows of length 1 is their cosine similarity.
    """

    model: Positional[Path]
    """Folder of an encoder with its tokenizer, such as a sentence-transformers model."""

    out: Path
    """The file for the vectors: a .npy, a pipe, or /dev/stdout."""

    text: tuple[str, ...] = ()
    """One or more texts to embed."""

    file: Path | None = None
    """A file of texts: a line each, or rows with a column `text`; blank lines are skipped."""

    pooling: Literal[
        "declared", "mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"
    ] = "declared"
    """Pooling of the token vectors. declared: as the sentence-transformers folder says; if it does
    not say, mean."""

    normalise: Literal["declared", "yes", "no"] = "declared"
    """Scale each vector to length 1. declared: as the folder says; if it does not say, yes."""

    max_length: int | None = None
    """Truncate texts to this many tokens. By default as the folder says, else the model's limit."""

    prompt: str | None = None
    """Name of a prompt in the sentence-transformers folder, such as `query`, to put before each
    text; '' for none. By default the folder's default prompt, if it has one."""

    inference: Inference = field(default_factory=Inference)

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, max_length=at_least(3))
        if bool(self.text) == (self.file is not None):
            raise UserError("give either --text or --file")


def run(arguments: Sequence[str]) -> None:
    """Embed, and write the vectors."""
    options = parse(EmbedOptions, "embed", arguments)
    from plainformer.finetune import Embedder
    from plainformer.finetune.placement import placement_of
    from plainformer.finetune.prediction.vectors import (
        check_vector_file,
        read_texts_or_pairs,
        write_vectors,
    )
    from plainformer.training import is_main

    check_vector_file(options.out, options.file)
    texts = options.text if options.file is None else read_texts_or_pairs(options.file)
    embedder = Embedder.load(
        options.model,
        pooling=None if options.pooling == "declared" else options.pooling,
        normalise={"declared": None, "yes": True, "no": False}[options.normalise],
        max_length=options.max_length,
        prompt=options.prompt,
        **asdict(options.inference),
    )
    size = write_vectors(embedder, texts, options.out)
    if not is_main():
        return
    verb = "is" if len(texts) == 1 else "are"
    message = f"{plural(len(texts), 'vector')} of {size} numbers {verb} in {options.out}"
    message += f", computed {placement_of(embedder.model)}"
    # Where the vectors go to standard output, the message must not.
    print(message, file=sys.stderr if is_stream(options.out) else sys.stdout)
