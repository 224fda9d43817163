"""Read the documents of files, folders and named sets, in a training and a held-out part.

A named set has its own held-out part. Of other files, a document is held out by the hash of its
text: copies of a text are in the same part, so no training text repeats a held-out one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from plainformer.corpora import (
    File,
    NoText,
    fetch,
    find_files,
    is_held_out,
    is_set,
    read_documents,
    warn_skipped,
)

Split = Literal["train", "valid"]


class SourceFile(NamedTuple):
    """A file and the part of all its documents; None: by the hash of each."""

    file: File
    split: Split | None = None


class Place(NamedTuple):
    """A position in the corpus: after this many documents of a source."""

    source: int = 0
    documents: int = 0


START = Place()


class Document(NamedTuple):
    """A text, the part of its source, and the position after it."""

    text: str
    split: Split | None
    end: Place


@dataclass(frozen=True)
class Corpus:
    """A corpus in two parts: `texts("train")` and `texts("valid")`."""

    sources: Sequence[SourceFile]
    valid_share: float

    @classmethod
    def of(cls, names: Sequence[str], valid_share: float) -> "Corpus":
        """Open the corpus of these names, files, folders, globs and URLs; download named sets.

        Of a labelled set, the texts except those of the test part are used. Raises `UserError` for
        a name of neither a set nor a file.
        """
        sets = [name for name in names if is_set(name)]
        named = [name for name in names if name not in sets]
        files = find_files(named) if named or not sets else []
        folders = [fetch(name) for name in sets]
        # Of two copies the first is kept: so held-out files come before those that may repeat them.
        return cls(
            [
                *(SourceFile(folder / "valid.txt", "valid") for folder in folders),
                *(SourceFile(file) for file in dict.fromkeys(files)),
                *(SourceFile(folder / "train.txt", "train") for folder in folders),
            ],
            valid_share,
        )

    def documents(
        self, start: Place = START, watch: Callable[[int], object] | None = None
    ) -> Iterator[Document]:
        """Read the documents after `start` in order; call `watch` with the bytes read."""
        for number in range(start.source, len(self.sources)):
            file, split = self.sources[number]
            skipped = start.documents if number == start.source else 0
            try:
                for count, text in enumerate(read_documents(file, watch), start=1):
                    if count > skipped:
                        yield Document(text, split, Place(number, count))
            except NoText as fault:
                if len(self.sources) == 1:
                    raise
                warn_skipped(fault)

    def texts(self, split: Split, watch: Callable[[int], object] | None = None) -> Iterator[str]:
        """Read the documents of one part in order; `watch` as in `documents`."""
        share, documents = self.valid_share, self.documents(watch=watch)
        return (found.text for found in documents if part(found, share) == split)


def part(document: Document, valid_share: float) -> Split:
    """Return the part of a document: that of its source, else by the hash of its text."""
    held_out = document.split is None and is_held_out(document.text, valid_share)
    return document.split or ("valid" if held_out else "train")
