"""A corpus becomes shards: read by one process, tokenised by many, written in order.

    documents → chunks → tokens (in parallel) → without copies → portions → shards → manifest

A chunk is a fixed stretch of the documents, and a portion ends behind the chunk that fills it: so
the shards hang on the text alone, not on how many processes there were or how often they were
interrupted. In memory are a portion (3 bytes a token, 5 with a large vocabulary), a few chunks for
each process, and the hashes of the documents that have come (see `corpora.duplicates`).
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
from plainformer.corpora.duplicates import SeenHashes
from plainformer.pretrain.corpus.manifest import (
    Journal,
    Manifest,
    Portion,
    is_prepared,
    provenance_of,
)
from plainformer.pretrain.corpus.progress import reading
from plainformer.pretrain.corpus.shards import Tokens, read_hashes, write_shard
from plainformer.pretrain.corpus.text import START, Corpus, Document, Place, Split, part
from plainformer.pretrain.corpus.worker_pool import cores, in_order
from plainformer.tokenizer import Tokenizer, load_tokenizer
from plainformer.training import full_disk

SHARD_TOKENS = 1 << 24
"""tokens that end a portion"""
CHUNK = 1 << 18
"""characters that a process is given at once, at least"""
WORKER_BYTES = 16 << 20
"""bytes of text for which a further process is worth its start"""


def prepare_corpus(
    corpus: Corpus,
    tokenizer: Tokenizer,
    folder: Path,
    *,
    workers: int = 0,
    overwrite: bool = False,
    quiet: bool = False,
) -> Manifest:
    """Write the shards of a corpus into `folder`, and its manifest when all are there.

    `workers` are processes, 0: one for each core. Exact copies of a document are dropped. What was
    interrupted goes on where it was; what is complete is left as it is. Raises `UserError` for the
    faults of the text, when a part holds no tokens, for a full disk, and for a folder that holds
    something else, unless that is another corpus and to be overwritten.
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
    """Tokenise what stands behind the portions that the journal has, and add it to them."""
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
        reading("tokenizing", total, done, quiet=quiet) as watch,
    ):
        tokenizer.save(copy)
        make = copy, fingerprint, corpus.valid_share
        chunks = _chunks(corpus.documents(start, watch))
        with closing(in_order(_tokeniser, make, chunks, workers)) as results:
            filling = _Filling()
            for chunk, (tokens, valid) in results:
                filling.add(chunk, tokens, valid, seen)
                if filling.tokens >= SHARD_TOKENS:
                    filling = filling.write(journal, fingerprint)
        if filling.read:
            filling.write(journal, fingerprint)


def _refuse_empty(journal: Journal) -> None:
    """Of a text without one of the parts nothing is kept: it must be another one, or split anew."""
    manifest = Manifest.of(journal.provenance, journal.portions)
    parts: dict[Split, str] = {"valid": ", or hold out a larger share of it", "train": ""}
    for split, advice in parts.items():
        if not manifest.entries(split):
            journal.discard()
            raise UserError(f"the {split} part of the text holds no tokens: give more text{advice}")


@dataclass
class _Filling:
    """A portion on its way: the documents of both parts, and how many were read for them."""

    parts: dict[Split, list[Tokens]] = field(default_factory=lambda: {"valid": [], "train": []})
    tokens: int = 0
    read: int = 0
    copies: int = 0
    empty: int = 0
    end: Place = START

    def add(
        self,
        chunk: list[Document],
        tokens: Tokens,
        valid: Bool[np.ndarray, " documents"],
        seen: SeenHashes,
    ) -> None:
        """Take in a chunk, but for the documents that have come before."""
        new = seen.add(tokens.hashes)
        chosen_of: dict[Split, Bool[np.ndarray, " documents"]]
        chosen_of = {"valid": new & valid, "train": new & ~valid}
        for split, chosen in chosen_of.items():
            if chosen.any():
                self.parts[split].append(tokens.only(chosen))
                self.tokens += len(self.parts[split][-1].ids)
        self.read += len(chunk)
        self.empty += len(chunk) - len(new)
        self.copies += len(new) - int(new.sum())
        self.end = chunk[-1].end

    def write(self, journal: Journal, fingerprint: str) -> "_Filling":
        """Write a shard of each part that there is something of; give an empty portion."""
        number = len(journal.portions)
        shards = [
            write_shard(journal.folder / f"{split}-{number:05}.safetensors", tokens, fingerprint)
            for split, tokens in self.parts.items()
            if tokens
        ]
        journal.add(Portion(self.end, self.read, self.copies, self.empty, tuple(shards)))
        return _Filling()


def _chunks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    chunk: list[Document] = []
    size = 0
    for document in documents:
        chunk.append(document)
        size += len(document.text)
        if size >= CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


Tokenised = tuple[Tokens, Bool[np.ndarray, " documents"]]
"""the documents of a chunk of which there are tokens, and which of them are held out"""


def _tokeniser(
    folder: str, fingerprint: str, valid_share: float
) -> Callable[[list[Document]], Tokenised]:
    """What each process does with a chunk; it opens the tokenizer for itself."""
    tokenizer = load_tokenizer(folder)
    if tokenizer.fingerprint() != fingerprint:
        raise RuntimeError("this tokenizer is another one when it is saved and opened again")
    return partial(_tokenise, tokenizer, valid_share)


def _tokenise(tokenizer: Tokenizer, valid_share: float, chunk: list[Document]) -> Tokenised:
    tokens = Tokens.of((document.text for document in chunk), tokenizer)
    valid = np.array([part(document, valid_share) == "valid" for document in chunk], bool)
    return tokens.only(tokens.sizes > 0), valid[tokens.sizes > 0]
