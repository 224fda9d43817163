"""Prepare a corpus: read it in one process, tokenize it in many, write shards in order.

    documents → work units → tokens (in parallel) → without copies → portions → shards → manifest

A work unit is a fixed stretch of the documents, and a portion ends after the unit that fills it: so
the shards depend on the text only, not on the number of processes or on interruptions. Memory
holds a portion (3 bytes a token, 5 with a large vocabulary), a few work units for each process, and
the hashes of all documents so far (see `corpora.duplicates`).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import Bool

from plainformer.base import UserError, output_folder
from plainformer.base.progress import counting
from plainformer.corpora.duplicates import SeenHashes
from plainformer.pretrain.corpus.manifest import (
    Journal,
    Manifest,
    Portion,
    is_prepared,
    provenance_of,
)
from plainformer.pretrain.corpus.shards import Tokens, read_hashes, write_shard
from plainformer.pretrain.corpus.text import START, Corpus, Document, Place, Split, part
from plainformer.pretrain.corpus.worker_pool import cores, in_order
from plainformer.tokenizer import Tokenizer, load_tokenizer
from plainformer.training import full_disk

SHARD_TOKENS = 1 << 24
"""Tokens at which a portion ends."""
WORK_UNIT = 1 << 18
"""Minimum characters of a work unit."""
WORKER_BYTES = 16 << 20
"""Bytes of text for which another process saves more time than its start takes."""


def prepare_corpus(
    corpus: Corpus,
    tokenizer: Tokenizer,
    folder: Path,
    *,
    workers: int = 0,
    overwrite: bool = False,
    quiet: bool = False,
) -> Manifest:
    """Write the shards of a corpus into `folder`, then its manifest.

    `workers` are processes, 0: one for each core. Exact copies of a document are dropped. An
    interrupted preparation is resumed; a complete one is left as it is. Raises `UserError` for
    faults of the text, a part without tokens, a full disk, and a folder with other files, except
    another corpus with `overwrite`.
    """
    if workers < 0:
        raise UserError(f"workers must be 0 or more, not {workers}")
    provenance = provenance_of(corpus, tokenizer, SHARD_TOKENS)
    journal = Journal(folder, provenance)
    with full_disk(folder), output_folder(folder, "corpus", own=is_prepared(folder)):
        if manifest := journal.begin(overwrite):
            return manifest
        try:
            _write_portions(corpus, tokenizer, journal, workers or cores(), quiet)
        except UserError:
            if not journal.portions:
                journal.discard()
            raise
        _refuse_empty(journal)
        return journal.finish()


def _write_portions(
    corpus: Corpus, tokenizer: Tokenizer, journal: Journal, workers: int, quiet: bool
) -> None:
    """Tokenize the documents after the portions of the journal, and add them as portions."""
    folder, fingerprint = journal.folder, tokenizer.fingerprint()
    seen = SeenHashes()
    for portion in journal.portions:
        for entry in portion.shards:
            seen.add(read_hashes(folder, entry, fingerprint))
    start = journal.portions[-1].end if journal.portions else START
    sizes = [source["bytes"] for source in journal.provenance["sources"]]
    total = None if None in sizes else sum(sizes)
    done = sum(size or 0 for size in sizes[: start.source])
    if total is not None:
        workers = min(workers, 1 + (total - done) // WORKER_BYTES)
    with (
        TemporaryDirectory() as copy,
        counting("tokenizing", total, done, unit="bytes", quiet=quiet) as watch,
    ):
        tokenizer.save(copy)
        make = copy, fingerprint, corpus.valid_share
        units = _work_units(corpus.documents(start, watch))
        with closing(in_order(_tokenizer, make, units, workers)) as results:
            filling = _Filling()
            for documents, (tokens, valid) in results:
                filling.add(documents, tokens, valid, seen)
                if filling.tokens >= SHARD_TOKENS:
                    filling = filling.write(journal, fingerprint)
        if filling.read:
            filling.write(journal, fingerprint)


def _refuse_empty(journal: Journal) -> None:
    """Raise `UserError`, and discard all, when one of the parts has no tokens."""
    manifest = Manifest.of(journal.provenance, journal.portions)
    parts: dict[Split, str] = {"valid": ", or hold out a larger share of it", "train": ""}
    for split, advice in parts.items():
        if not manifest.entries(split):
            journal.discard()
            raise UserError(f"the {split} part of the text holds no tokens: give more text{advice}")


@dataclass
class _Filling:
    """A portion that is being filled: the tokens of both parts, and counts of documents."""

    parts: dict[Split, list[Tokens]] = field(default_factory=lambda: {"valid": [], "train": []})
    tokens: int = 0
    read: int = 0
    copies: int = 0
    empty: int = 0
    end: Place = START

    def add(
        self,
        documents: list[Document],
        tokens: Tokens,
        valid: Bool[np.ndarray, " documents"],
        seen: SeenHashes,
    ) -> None:
        """Add the documents of a work unit, except copies of earlier ones."""
        new = seen.add(tokens.hashes)
        chosen_of: dict[Split, Bool[np.ndarray, " documents"]]
        chosen_of = {"valid": new & valid, "train": new & ~valid}
        for split, chosen in chosen_of.items():
            if chosen.any():
                self.parts[split].append(tokens.only(chosen))
                self.tokens += len(self.parts[split][-1].ids)
        self.read += len(documents)
        self.empty += len(documents) - len(new)
        self.copies += len(new) - int(new.sum())
        self.end = documents[-1].end

    def write(self, journal: Journal, fingerprint: str) -> "_Filling":
        """Write a shard of each part that has documents; return an empty portion."""
        number = len(journal.portions)
        shards = [
            write_shard(journal.folder / f"{split}-{number:05}.safetensors", tokens, fingerprint)
            for split, tokens in self.parts.items()
            if tokens
        ]
        journal.add(Portion(self.end, self.read, self.copies, self.empty, tuple(shards)))
        return _Filling()


def _work_units(documents: Iterable[Document]) -> Iterator[list[Document]]:
    unit: list[Document] = []
    size = 0
    for document in documents:
        unit.append(document)
        size += len(document.text)
        if size >= WORK_UNIT:
            yield unit
            unit, size = [], 0
    if unit:
        yield unit


Tokenized = tuple[Tokens, Bool[np.ndarray, " documents"]]
"""The documents of a work unit that have tokens, and which of them are held out."""


def _tokenizer(
    folder: str, fingerprint: str, valid_share: float
) -> Callable[[list[Document]], Tokenized]:
    """Make the function of a worker process, which loads the tokenizer itself."""
    tokenizer = load_tokenizer(folder)
    if tokenizer.fingerprint() != fingerprint:
        raise RuntimeError("this tokenizer changes when it is saved and loaded")
    return partial(_tokenize, tokenizer, valid_share)


def _tokenize(tokenizer: Tokenizer, valid_share: float, unit: list[Document]) -> Tokenized:
    tokens = Tokens.of((document.text for document in unit), tokenizer)
    valid = np.array([part(document, valid_share) == "valid" for document in unit], bool)
    return tokens.only(tokens.sizes > 0), valid[tokens.sizes > 0]
