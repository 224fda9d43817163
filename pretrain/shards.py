"""Token shards: a corpus as ids on disk, mapped into memory rather than read.

A shard is a safetensors file of three tensors:

    ids        uint16 (uint32 for a large vocabulary)   the tokens of all documents, end to end
    documents  int64                                    where each document begins, and the end
    words      uint8                                    1 where a word begins

Its metadata name the tokenizer by fingerprint: a shard that another tokenizer wrote, or that was
cut short, is refused by name.
"""

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cellar import UserError, atomic_path
from tokenizer import Tokenizer

FORMAT = "plainformer token shard 1"
SHARD_TOKENS = 1 << 26
"""tokens after which a new shard is begun: what writing keeps in memory"""


@dataclass(frozen=True)
class Shard:
    """One shard, as mapped arrays."""

    ids: Shaped[np.ndarray, " tokens"]
    documents: Int64[np.ndarray, " bounds"]
    words: Shaped[np.ndarray, " tokens"]


def write_shards(texts: Iterable[str], tokenizer: Tokenizer, folder: Path, split: str) -> int:
    """Write the documents of `texts` as `split-00000.safetensors` …; return how many tokens.

    A document without tokens is left out. Raises `UserError` when nothing is left, or the disk is
    full; no file is left half-written.
    """
    total = 0
    for shard, (ids, documents, words) in enumerate(_batches_of_documents(texts, tokenizer)):
        path = folder / f"{split}-{shard:05}.safetensors"
        kind = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
        tensors = {
            "ids": torch.from_numpy(np.array(ids, kind)),
            "documents": torch.from_numpy(np.array(documents, np.int64)),
            "words": torch.from_numpy(np.frombuffer(words, np.uint8)),
        }
        metadata = {"format": FORMAT, "tokenizer": tokenizer.fingerprint()}
        try:
            with atomic_path(path) as temporary:
                save_file(tensors, temporary, metadata)
        except (OSError, SafetensorError) as error:
            raise UserError(f"cannot write the token shard {path.name}: {error}") from None
        total += len(ids)
    if total == 0:
        raise UserError(
            f"the {split} part of the text holds no tokens: give more text"
            + (", or hold out a larger share of it" if split == "valid" else "")
        )
    return total


def _batches_of_documents(
    texts: Iterable[str], tokenizer: Tokenizer
) -> Iterator[tuple["array[int]", list[int], bytearray]]:
    """ids, document bounds and word starts of one shard's documents after another's."""
    ids, documents, words = array("I"), [0], bytearray()
    for text in texts:
        pieces = tokenizer.words(text)
        ids.extend(chain.from_iterable(pieces))
        for piece in pieces:
            words.extend(b"\1".ljust(len(piece), b"\0"))
        if len(ids) > documents[-1]:
            documents.append(len(ids))
        if len(ids) >= SHARD_TOKENS:
            yield ids, documents, words
            ids, documents, words = array("I"), [0], bytearray()
    if ids:
        yield ids, documents, words


def read_shards(folder: Path, tokenizer: Tokenizer, split: str) -> list[Shard]:
    """The shards of `split`, mapped; none when there are none.

    Raises `UserError` naming the file that is damaged, or was written with another tokenizer.
    """
    return [_read(path, tokenizer) for path in sorted(folder.glob(f"{split}-*.safetensors"))]


def _read(path: Path, tokenizer: Tokenizer) -> Shard:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise UserError(f"{path} is no token shard")
            if metadata.get("tokenizer") != tokenizer.fingerprint():
                raise UserError(
                    f"{path} was written with another tokenizer: remove {path.parent} to have it "
                    "written anew, or give the tokenizer it was written with"
                )
            arrays = {name: file.get_tensor(name).numpy() for name in ("ids", "documents", "words")}
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is damaged or cut short ({error}): remove {path.parent} to have it written "
            "anew"
        ) from None
    shard = Shard(**arrays)
    if shard.documents[-1] != len(shard.ids) or len(shard.words) != len(shard.ids):
        raise UserError(f"{path} contradicts itself: remove {path.parent} to have it written anew")
    return shard
