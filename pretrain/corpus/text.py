"""What to pretrain on: files and folders of the user's, and real sets by name.

A named set brings its own held-out part. Of a user's files, a document is held out when the hash
of its text says so: copies of one text fall on the same side, so no training text repeats a
held-out one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from plainformer.corpora import (
    File,
    NoText,
    catalogue,
    fetch,
    find_files,
    is_held_out,
    read_documents,
    warn_skipped,
)

Split = Literal["train", "valid"]


class SourceFile(NamedTuple):
    """A file, and the part that all of it belongs to; None: the hash of each text decides."""

    file: File
    split: Split | None = None


class Place(NamedTuple):
    """Just behind so many documents of a source."""

    source: int = 0
    documents: int = 0


START = Place()


class Document(NamedTuple):
    """A text, the part of its source, and the place behind it."""

    text: str
    split: Split | None
    end: Place


@dataclass(frozen=True)
class Corpus:
    """Some texts in two parts: `texts("train")` and `texts("valid")`."""

    sources: Sequence[SourceFile]
    valid_share: float

    @classmethod
    def of(cls, names: Sequence[str], valid_share: float) -> "Corpus":
        """Open the corpus of these names, files, folders, globs and URLs; download named sets.

        Of a labelled set, the texts except those of the test part are used. Raises `UserError` for
        a name of neither a set nor a file.
        """
        sets = [name for name in names if name in catalogue and not Path(name).exists()]
        named = [name for name in names if name not in sets]
        files = find_files(named) if named or not sets else []
        folders = [fetch(name) for name in sets]
        # Of two copies the first stays: what is held out comes before what could repeat it.
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
        """All documents behind `start`, in order; `watch` is told of the bytes that were read."""
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
        """The documents of one part, in order; `watch` as `documents` has it."""
        share, documents = self.valid_share, self.documents(watch=watch)
        return (found.text for found in documents if part(found, share) == split)


def part(document: Document, valid_share: float) -> Split:
    """The part of a document: that of its source, or the one that the hash of its text gives."""
    held_out = document.split is None and is_held_out(document.text, valid_share)
    return document.split or ("valid" if held_out else "train")
