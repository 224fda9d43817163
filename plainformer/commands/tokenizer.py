"""`plainformer tokenizer train …`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from plainformer.base import UserError, between, check_bounds, replaced_folder
from plainformer.options import parse

USAGE = """usage: plainformer tokenizer train --files … --out DIR

plainformer tokenizer train --help explains each option."""


@dataclass(frozen=True)
class TrainOptions:
    """Train a tokenizer on text; `transformers` can load it, too."""

    files: tuple[str, ...]
    """Training text: files, folders or globs, or the name of a data set."""

    out: Path
    """Folder for the tokenizer."""

    vocab_size: int = 8192
    """Size of the vocabulary, special tokens included."""

    kind: Literal["wordpiece", "unigram", "bpe"] = "wordpiece"
    """wordpiece: BERT's; unigram, bpe: SentencePiece's, for any language, learned from a random
    sample where the text is longer than 100 million characters."""

    lowercase: bool = True
    """Lower-case the text and strip accents (wordpiece); unigram and bpe: lower-case only."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, vocab_size=between(6, 10_000_000))


def run(arguments: Sequence[str]) -> None:
    """Train a tokenizer and save it."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return
    if arguments[0] != "train":
        raise UserError(f"there is no `tokenizer {arguments[0]}`\n\n{USAGE}")
    options = parse(TrainOptions, "tokenizer train", arguments[1:])
    from plainformer.tokenizer import train_tokenizer

    with replaced_folder(options.out, "tokenizer train") as folder:
        with Console(stderr=True).status(f"learning {options.vocab_size:,} pieces"):
            trained = train_tokenizer(
                texts(options.files),
                kind=options.kind,
                vocab_size=options.vocab_size,
                lowercase=options.lowercase,
            )
        try:
            trained.save(folder)
        except OSError as error:
            raise UserError(
                f"cannot write the tokenizer to {options.out}: {error.strerror}"
            ) from None
    print(f"{trained.vocab_size:,} pieces, saved in {options.out}")


def texts(names: Sequence[str]) -> Iterator[str]:
    """Read the training texts of files and named data sets."""
    from plainformer.pretrain.corpus import Corpus

    return Corpus.of(names, valid_share=0.0).texts("train")
