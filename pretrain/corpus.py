"""What to pretrain on: files and folders of the user's, and real sets by name.

A named set brings its own held-out part. Of a user's files, a document is held out when the hash
of its text says so: copies of one text fall on the same side, so no training text repeats a
held-out one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cellar import UserError
from corpora import catalogue, fetch, find_files, is_held_out, read_texts

Split = Literal["train", "valid"]


@dataclass(frozen=True)
class Corpus:
    """Some texts in two parts: `texts("train")` and `texts("valid")`."""

    files: Sequence[Path]
    """users' files, to be split by hash"""
    folders: Sequence[Path]
    """named sets, already split"""
    valid_share: float

    @classmethod
    def of(cls, names: Sequence[str], valid_share: float) -> "Corpus":
        """The corpus of these names, files, folders and globs; a named set is fetched if need be.

        Raises `UserError` for what is no name of a text set and no file.
        """
        files: list[Path] = []
        folders: list[Path] = []
        for name in names:
            if name not in catalogue or Path(name).exists():
                files += find_files([name])
            elif catalogue[name].kind != "text":
                texts = ", ".join(n for n, dataset in catalogue.items() if dataset.kind == "text")
                raise UserError(f"{name} is a labelled set; sets of plain text: {texts}")
            else:
                folders.append(fetch(name))
        return cls(files, folders, valid_share)

    def texts(self, split: Split) -> Iterator[str]:
        """The documents of one part, in the order of the files."""
        for text in read_texts(self.files) if self.files else ():
            if is_held_out(text, self.valid_share) == (split == "valid"):
                yield text
        for folder in self.folders:
            yield from read_texts(folder / f"{split}.txt")

    def size(self, split: Split) -> int:
        """About how many bytes `texts(split)` reads."""
        sets = sum((folder / f"{split}.txt").stat().st_size for folder in self.folders)
        return sets + sum(file.stat().st_size for file in self.files)
