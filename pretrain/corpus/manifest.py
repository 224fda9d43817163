"""The index of a prepared corpus, `manifest.json`, written last.

    manifest.json              format, tokenizer, settings, sources, documents, shards
    train-00000.safetensors …  see `pretrain.corpus.shards`
    valid-00000.safetensors …
    unfinished                 its journal: the provenance, then a line for each complete portion

A corpus is written in portions: the training shard, the held-out shard, then a line of the journal.
So an interrupted preparation resumes after the last portion, and never looks complete.
"""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from plainformer.base import (
    Fields,
    NotJSON,
    UserError,
    checksum,
    from_json,
    parse_json,
    read_json,
    write_json,
    write_text,
)
from plainformer.corpora import stamp
from plainformer.pretrain.corpus.shards import Entry, Shard, is_whole, read_shard
from plainformer.pretrain.corpus.text import Corpus, Place, Split
from plainformer.tokenizer import Tokenizer

FORMAT = "plainformer corpus 1"
FILE, UNFINISHED = "manifest.json", "unfinished"
SHARD = re.compile(r"(train|valid)-\d{5,}\.safetensors")
OURS = re.compile(rf"manifest\.json|unfinished|{SHARD.pattern}")
MAX_LINE = 64 * 2**20
"""Bytes of the longest first line of a journal."""

Provenance = dict[str, Any]
"""All that determines the content of the shards: equal provenance, equal bytes."""


@dataclass(frozen=True)
class Portion:
    """A portion of the documents: how many were read and dropped, and its shards."""

    end: Place
    read: int
    """Documents read."""
    copies: int
    """Documents dropped as copies of earlier ones."""
    empty: int
    """Documents dropped because they have no tokens."""
    shards: tuple[Entry, ...]


@dataclass(frozen=True)
class Manifest:
    """The index of a complete corpus."""

    provenance: Provenance
    read: int
    copies: int
    empty: int
    shards: tuple[Entry, ...]

    @classmethod
    def of(cls, provenance: Provenance, portions: Iterable[Portion]) -> "Manifest":
        """Add up all portions."""
        portions = list(portions)
        return cls(
            provenance,
            read=sum(portion.read for portion in portions),
            copies=sum(portion.copies for portion in portions),
            empty=sum(portion.empty for portion in portions),
            shards=tuple(entry for portion in portions for entry in portion.shards),
        )

    def entries(self, split: Split) -> list[Entry]:
        """Return the entries of the shards of one part."""
        return [entry for entry in self.shards if entry.file.startswith(split)]

    def tokens(self, split: Split) -> int:
        """Count the tokens of one part."""
        return sum(entry.tokens for entry in self.entries(split))


def provenance_of(corpus: Corpus, tokenizer: Tokenizer, shard_tokens: int) -> Provenance:
    """Describe the tokenizer, settings and source files of a corpus as they are now."""
    return {
        "format": FORMAT,
        "tokenizer": tokenizer.fingerprint(),
        "settings": {"valid_share": corpus.valid_share, "shard_tokens": shard_tokens},
        "sources": [
            {
                "file": str(file.absolute() if isinstance(file, Path) else file),
                "split": split,
                **stamp(file),
            }
            for file, split in corpus.sources
        ],
    }


def is_prepared(folder: str | Path) -> bool:
    """Tell whether a folder holds a prepared corpus, complete or not."""
    folder = Path(folder).expanduser()
    return _format(folder / FILE) == FORMAT or _format(folder / UNFINISHED) == FORMAT


def _format(path: Path) -> object:
    """Return the format named in a manifest or journal; None where there is neither."""
    try:
        if path.name == FILE:
            return Fields(read_json(path), path).text("format")
        with path.open("rb") as file:
            return Fields(parse_json(file.readline(MAX_LINE), path), path).text("format")
    except (OSError, ValueError, UserError):
        return None


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a corpus; raise `UserError` where there is no complete one."""
    path = folder / FILE
    if not path.exists() and (folder / UNFINISHED).exists():
        raise UserError(f"{folder} is not finished: prepare it again to resume")
    if not path.exists():
        raise UserError(f"{folder} holds no prepared corpus")
    values = Fields(read_json(path), path)
    documents = values.fields("documents")
    return Manifest(
        _provenance(values),
        read=documents.whole("read"),
        copies=documents.whole("copies"),
        empty=documents.whole("empty"),
        shards=_entries(values),
    )


def _provenance(values: Fields) -> Provenance:
    """Read the provenance from a manifest, or from the first line of a journal."""
    if values.text("format") != FORMAT:
        raise UserError(f"{values.source} has another format than {FORMAT!r}: prepare it anew")
    for source in values.each("sources"):
        source.text("file")
    return {
        "format": FORMAT,
        "tokenizer": values.text("tokenizer"),
        "settings": dict(values.fields("settings").values),
        "sources": values.items("sources"),
    }


def _entries(values: Fields) -> tuple[Entry, ...]:
    """Read the shard entries of a manifest or journal line; refuse names outside its folder."""
    entries = []
    for shard in values.each("shards"):
        entry = from_json(Entry, shard.values, shard.source)
        if not SHARD.fullmatch(entry.file):
            raise shard.wrong("file", "the name of a shard (train-00000.safetensors)")
        for name in ("documents", "tokens", "bytes"):
            shard.whole(name, most=2**62)
        entries.append(entry)
    return tuple(entries)


def read_shards(folder: Path, tokenizer: Tokenizer, split: Split) -> list[Shard]:
    """Map the shards of one part; only their sizes are checked.

    Raises `UserError` naming the file that is missing, damaged, or of another tokenizer.
    """
    manifest, fingerprint = read_manifest(folder), tokenizer.fingerprint()
    if manifest.provenance["tokenizer"] != fingerprint:
        raise UserError(
            f"{folder} was written with another tokenizer: give the one it was written with, or "
            "write a corpus with this one (plainformer corpus)"
        )
    return [read_shard(folder, entry, fingerprint) for entry in manifest.entries(split)]


def check_corpus(folder: Path) -> Manifest:
    """Check every shard of a corpus against its checksum.

    Raises `UserError` naming the shard that is missing or damaged.
    """
    manifest = read_manifest(folder)
    for entry in manifest.shards:
        path = folder / entry.file
        if not is_whole(folder, entry) or checksum(path) != entry.sha256:
            fault = "is damaged" if path.exists() else "is missing"
            raise UserError(f"{path} {fault}: prepare the corpus anew")
    return manifest


class Journal:
    """The record of a corpus that is being written: its provenance and its complete portions."""

    def __init__(self, folder: Path, provenance: Provenance) -> None:
        self.folder, self.provenance, self._path = folder, provenance, folder / UNFINISHED
        self.portions: list[Portion] = []

    def begin(self, overwrite: bool) -> Manifest | None:
        """Resume the preparation in the folder; return the manifest if it is complete.

        The folder is locked (`base.output_folder`) and holds a corpus or part of one. Raises
        `UserError` when it holds anything else, except another corpus with `overwrite`.
        """
        found = self._found()
        strangers = [path.name for path in found if not OURS.fullmatch(path.name)]
        if strangers:
            raise UserError(
                f"{self.folder} holds other files ({strangers[0]}): choose another folder"
            )
        try:
            if (self.folder / FILE).exists():
                whole = self._whole()
                self._path.unlink(missing_ok=True)
                return whole
            if self._path.exists():
                self._resume()
            elif found:
                raise UserError(f"{self.folder} holds shards without a manifest")
        except UserError as error:
            if not overwrite:
                raise UserError(f"{error}: overwrite it, or choose another folder") from None
            # The manifest goes first: without it nothing here looks like a corpus.
            for path in sorted(found, key=lambda path: path.name != FILE):
                path.unlink()
        lines = [self.provenance, *map(asdict, self.portions)]
        write_text(self._path, "".join(json.dumps(line) + "\n" for line in lines))
        return None

    def add(self, portion: Portion) -> None:
        """Record a complete portion."""
        self.portions.append(portion)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(portion)) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> Manifest:
        """Write the manifest, which completes the corpus."""
        manifest = Manifest.of(self.provenance, self.portions)
        documents = {"read": manifest.read, "copies": manifest.copies, "empty": manifest.empty}
        contents = {"documents": documents, "shards": [asdict(entry) for entry in manifest.shards]}
        write_json(self.folder / FILE, {**self.provenance, **contents})
        self._path.unlink()
        return manifest

    def discard(self) -> None:
        """Remove all files of the corpus."""
        for path in self._found():
            if OURS.fullmatch(path.name):
                path.unlink()

    def _found(self) -> list[Path]:
        """List the files of the folder, except hidden ones."""
        return sorted(self.folder.glob("[!.]*"))

    def _whole(self) -> Manifest:
        manifest = read_manifest(self.folder)
        self._refuse_other(manifest.provenance)
        for entry in manifest.shards:
            if not is_whole(self.folder, entry):
                raise UserError(f"{self.folder / entry.file} is missing or damaged")
        return manifest

    def _resume(self) -> None:
        """Read the complete portions, up to the first whose line or shards are not."""
        first, *lines = self._path.read_bytes().split(b"\n")
        source = f"{self._path}:1"
        self._refuse_other(_provenance(Fields(parse_json(first, source), source)))
        for number, line in enumerate(lines, start=2):
            try:
                values = parse_json(line, f"{self._path}:{number}")
            except NotJSON:  # the line that was being written
                return
            portion = from_json(Portion, values, f"{self._path}:{number}")
            _entries(Fields(values, f"{self._path}:{number}"))
            if not all(is_whole(self.folder, entry) for entry in portion.shards):
                return
            self.portions.append(portion)

    def _refuse_other(self, found: Provenance) -> None:
        if found == self.provenance:
            return
        differing = [name for name in self.provenance if found.get(name) != self.provenance[name]]
        if differing == ["sources"]:
            before = {source["file"]: source for source in found["sources"]}
            now = {source["file"]: source for source in self.provenance["sources"]}
            changed = [file for file in now if now[file] != before.get(file)]
            changed += before.keys() - now.keys()
            at = f" (see {changed[0]})" if changed else ", or of the same in another order"
            raise UserError(f"{self.folder} was made of other text{at}")
        what = {
            "tokenizer": "another tokenizer",
            "settings": f"other settings ({found.get('settings')})",
        }
        raise UserError(f"{self.folder} was made with {what.get(differing[0], 'another version')}")
