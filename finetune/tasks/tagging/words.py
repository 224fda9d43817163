"""Find the first token of each word: in the windows of a sentence, and in a packed batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from torch import Tensor

from plainformer.encoder import Sequences
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.tasks.tagging.sentences import Sentence


@dataclass(frozen=True, kw_only=True)
class TaggedItem(Item):
    """An encoded sentence: one sequence, or its windows."""

    sentence: Sentence
    places: tuple[tuple[int, int], ...]
    """Sequence and position of the first token of each word, without the words that were cut."""


def words_of(batch: Batch[TaggedItem]) -> tuple[Int[Tensor, " words"], Sequences]:
    """Return the packed position of each word's first token, and the boundaries of sentences."""
    places, lengths = word_places(batch)
    sentences = Sequences.of([length for length in lengths if length], batch.input_ids.device)
    return batch.on_device(places), sentences


def word_places(batch: Batch[TaggedItem]) -> tuple[list[int], list[int]]:
    """Return the packed position of each word's first token, and the word count of each item."""
    starts = np.cumsum([0, *batch.sequences.lengths])[list(batch.order)].tolist()
    places, lengths, first = [], [], 0
    for item, count in zip(batch.items, batch.counts, strict=True):
        places += [starts[first + sequence] + place for sequence, place in item.places]
        lengths.append(len(item.places))
        first += count
    return places, lengths


def max_context(word_ids: Sequence[int], cuts: Sequence[slice]) -> list[tuple[int, int]]:
    """Return for each word the window with the most context, and its first token in the sentence.

    The context is the distance to the nearer end of the window; of equal windows, the first is
    chosen. Words that begin in no window because they were cut are left out.
    """
    best: dict[int, tuple[int, int, int]] = {}
    for window, cut in enumerate(cuts):
        for first in range(cut.start, cut.stop):
            word = word_ids[first]
            if first == 0 or word_ids[first - 1] != word:
                context = min(first - cut.start, cut.stop - 1 - first)
                if word not in best or context > best[word][0]:
                    best[word] = context, window, first
    return [(window, first) for _, window, first in best.values()]
