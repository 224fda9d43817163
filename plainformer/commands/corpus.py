"""`plainformer corpus …`, `plainformer corpus check FOLDER`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plainformer.base import UserError, between, check_bounds, plural
from plainformer.options import parse


@dataclass(frozen=True)
class CorpusOptions:
    """Tokenize text into shards, once for any number of pretraining runs.

    Started again after an interruption, it resumes. `plainformer corpus check FOLDER` reads a whole
    prepared corpus and verifies its checksums.
    """

    files: tuple[str, ...]
    """Text: files, folders, globs or URLs (.txt, .jsonl, .csv, .tsv or .parquet, also
    compressed: .gz, .bz2, .xz or .zst), or the name of a data set (see `plainformer data list`)."""

    tokenizer: Path
    """Folder of the tokenizer (see `plainformer tokenizer train`)."""

    out: Path
    """Folder for the prepared corpus, to be given as `plainformer pretrain --corpus FOLDER`."""

    valid_share: float = 0.01
    """Hold out this share of the documents for evaluation, where the text has no such part of its
    own."""

    workers: int = 0
    """Number of processes that tokenize; 0: one for each core."""

    overwrite: bool = False
    """Replace the corpus in --out if its text, tokenizer or settings were others."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        if not self.files:
            raise UserError("files must be at least one file or name")
        check_bounds(self, valid_share=between(0, 1, open_="[]"), workers=between(0, 1024))


def run(arguments: Sequence[str]) -> None:
    """Prepare a corpus, or check one, and print its size."""
    if arguments and arguments[0] == "check":
        if len(arguments) != 2 or arguments[1].startswith("-"):
            raise UserError("say `plainformer corpus check FOLDER`")
        folder = Path(arguments[1])
        from plainformer.pretrain import check_corpus

        manifest, done = check_corpus(folder), "every byte is as it was written"
    else:
        options = parse(CorpusOptions, "corpus", arguments)
        folder = options.out
        from plainformer.pretrain import Corpus, prepare_corpus
        from plainformer.tokenizer import load_tokenizer

        manifest = prepare_corpus(
            Corpus.of(options.files, options.valid_share),
            load_tokenizer(options.tokenizer),
            folder,
            workers=options.workers,
            overwrite=options.overwrite,
        )
        done = f"in {folder}"
    tokens = (
        f"{manifest.tokens('train'):,} tokens to train on, {manifest.tokens('valid'):,} held out"
    )
    print(
        f"{tokens}, of {plural(manifest.read, 'document')} "
        f"({plural(manifest.copies, 'copy of another', 'copies of others')} and "
        f"{manifest.empty:,} without tokens left out), "
        f"in {plural(len(manifest.shards), 'shard')}: {done}"
    )
