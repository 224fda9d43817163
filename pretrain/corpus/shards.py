"""Token shards: the ids of a corpus on disk, mapped into memory rather than read.

A shard is a safetensors file of four tensors:

    documents  int64                                    first token of each document, and the end
    hashes     int64                                    of each document's text: corpora.duplicates
    ids        uint16 (uint32 for a large vocabulary)   tokens of all documents, concatenated
    words      uint8                                    1 where a word begins

Its metadata hold the fingerprint of the tokenizer: a shard of another tokenizer, or a truncated
one, is refused. Processes that map the same shard share one copy of it.
"""

import hashlib
import json
import struct
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64, Shaped, UInt8
from safetensors import SafetensorError, safe_open

from plainformer.base import UserError, atomic_path
from plainformer.base.words import cut_at_spaces
from plainformer.corpora.duplicates import digest
from plainformer.tokenizer import Tokenizer

FORMAT = "plainformer token shard 2"
MAX_PART = 1 << 20
"""Characters of a document to tokenize at once (up to 0.1 GB of memory)."""
SAFETENSORS_DTYPES = {"int64": "I64", "uint8": "U8", "uint16": "U16", "uint32": "U32"}


@dataclass(frozen=True)
class Shard:
    """The mapped arrays of a shard."""

    ids: Shaped[np.ndarray, " tokens"]
    documents: Int64[np.ndarray, " bounds"]
    words: Shaped[np.ndarray, " tokens"]


@dataclass(frozen=True)
class Tokens:
    """Tokenized documents, concatenated."""

    ids: Shaped[np.ndarray, " tokens"]
    words: UInt8[np.ndarray, " tokens"]
    """1 for a token that begins a word, else 0."""
    sizes: Int64[np.ndarray, " documents"]
    """Tokens of each document."""
    hashes: Int64[np.ndarray, " documents"]

    @classmethod
    def of(cls, texts: Iterable[str], tokenizer: Tokenizer) -> "Tokens":
        """Tokenize these texts; some may have no tokens."""
        ids, words, sizes, digests = array("I"), bytearray(), [], []
        for text in texts:
            before = len(ids)
            for part in cut_at_spaces(text, MAX_PART):
                pieces = tokenizer.words(part)
                ids.extend(chain.from_iterable(pieces))
                for piece in pieces:
                    words.extend(b"\1".ljust(len(piece), b"\0"))
            sizes.append(len(ids) - before)
            digests.append(digest(text))
        return cls(
            ids=np.array(ids, np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32),
            words=np.frombuffer(bytes(words), np.uint8),
            sizes=np.array(sizes, np.int64),
            hashes=np.array(digests, np.int64),
        )

    def only(self, chosen: Bool[np.ndarray, " documents"]) -> "Tokens":
        """Return the tokens of the chosen documents."""
        kept = np.repeat(chosen, self.sizes)
        return Tokens(self.ids[kept], self.words[kept], self.sizes[chosen], self.hashes[chosen])


@dataclass(frozen=True)
class Entry:
    """The entry of a shard in a manifest."""

    file: str
    documents: int
    tokens: int
    bytes: int
    sha256: str


def write_shard(path: Path, parts: Sequence[Tokens], fingerprint: str) -> Entry:
    """Write these documents, one part after the other; return the entry for the manifest.

    The parts are not copied. Equal documents give equal files, byte for byte. Raises `UserError`
    when the disk is full.
    """
    bounds = np.cumsum(np.concatenate([[0], *(part.sizes for part in parts)]), dtype=np.int64)
    tensors: dict[str, list[np.ndarray]] = {
        "documents": [bounds],
        "hashes": [part.hashes for part in parts],
        "ids": [part.ids for part in parts],
        "words": [part.words for part in parts],
    }
    sha256, size = hashlib.sha256(), 0
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            arrays = chain.from_iterable(tensors.values())
            header = memoryview(_header(tensors, fingerprint))
            for data in chain([header], (array.data.cast("B") for array in arrays)):
                file.write(data)
                sha256.update(data)
                size += len(data)
    except OSError as error:
        raise UserError(f"cannot write the token shard {path}: {error.strerror}") from None
    return Entry(path.name, len(bounds) - 1, int(bounds[-1]), size, sha256.hexdigest())


def _header(tensors: dict[str, list[np.ndarray]], fingerprint: str) -> bytes:
    """Make the header of a safetensors file; wider types come first, so all are aligned."""
    header: dict[str, object] = {"__metadata__": {"format": FORMAT, "tokenizer": fingerprint}}
    begin = 0
    for name, parts in tensors.items():
        end = begin + sum(part.nbytes for part in parts)
        header[name] = {
            "dtype": SAFETENSORS_DTYPES[str(parts[0].dtype)],
            "shape": [sum(map(len, parts))],
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def read_shard(folder: Path, entry: Entry, fingerprint: str) -> Shard:
    """Map a shard.

    Raises `UserError` naming the file that is missing, damaged, or of another tokenizer.
    """
    path = folder / entry.file
    arrays = _arrays(path, entry, fingerprint, ("ids", "documents", "words"))
    shard = Shard(**arrays)
    if (
        [len(shard.documents) - 1, len(shard.ids)] != [entry.documents, entry.tokens]
        or shard.documents[-1] != len(shard.ids)
        or len(shard.words) != len(shard.ids)
    ):
        raise UserError(f"{path} contradicts itself: remove {folder} to have it written anew")
    return shard


def read_hashes(folder: Path, entry: Entry, fingerprint: str) -> Int64[np.ndarray, " documents"]:
    """Read the hashes of a shard's documents; raise `UserError` as `read_shard`."""
    return _arrays(folder / entry.file, entry, fingerprint, ("hashes",))["hashes"]


def is_whole(folder: Path, entry: Entry) -> bool:
    """Tell whether a shard exists and has its size."""
    path = folder / entry.file
    return path.is_file() and path.stat().st_size == entry.bytes


def _arrays(
    path: Path, entry: Entry, fingerprint: str, names: tuple[str, ...]
) -> dict[str, np.ndarray]:
    if not is_whole(path.parent, entry):
        fault = "is damaged or cut short" if path.exists() else "is missing"
        raise UserError(f"{path} {fault}: remove {path.parent} to have it written anew")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise UserError(f"{path} is no token shard")
            if metadata.get("tokenizer") != fingerprint:
                raise UserError(
                    f"{path} was written with another tokenizer: remove {path.parent} to have it "
                    "written anew, or give the tokenizer it was written with"
                )
            return {name: file.get_tensor(name).numpy() for name in names}
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is damaged or cut short ({error}): remove {path.parent} to have it written "
            "anew"
        ) from None
