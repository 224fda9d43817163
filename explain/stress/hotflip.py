"""Swap words by the gradient: those whose embeddings raise the loss most (HotFlip, Ebrahimi et al.
2018, arXiv:1712.06751).

    1   of all words of the text and of the vocabulary, take the 8 swaps of the highest gain,
        the first-order change of the loss (`gains.py`)
    2   compute the loss of each; keep the best, if it raises the loss
    3   go on with the other words, until a share of them is swapped

Both words are single tokens of one script; words with a tag or in an answer stay. The worst that a
few words can do: unlike a typo, a swap may well change what the text says.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from plainformer.base import UserError
from plainformer.base.words import unspaced_edges
from plainformer.explain.stress.gains import aligned, can_flip, gains_of, loss_of
from plainformer.finetune.augment import WholeWords
from plainformer.finetune.augment.choose import number_of, replaced
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.data.words import Word, Words
from plainformer.finetune.prediction.predictor import Predictor, encode_all

TRIED = 8
"""Swaps whose loss is computed, of the highest gain."""


@dataclass(frozen=True)
class HotFlip:
    """The change of examples by the gradient of a model. It has no chance in it."""

    predictor: Predictor

    def __post_init__(self) -> None:
        """Check that the model has gradients."""
        if not can_flip(self.predictor.model):
            raise UserError(
                "hotflip needs the gradients of a model: int8 and static ones have none"
            )
        self.predictor.model.eval()

    def __call__(self, example: Any, share: float, generator: torch.Generator) -> Any:
        """Swap up to a share of the words of a labelled example, each for a higher loss."""
        words = list(example.to_words())
        (loss,), swapped = self.losses([example]), set[int]()
        while len(swapped) < number_of(words, share):
            swaps = self.swaps(example, words, swapped)
            changed = [_with(words, place, text) for place, text in swaps]
            losses = self.losses([example.with_words(some) for some in changed])
            best = int(np.argmax(losses)) if losses else -1
            if best < 0 or not losses[best] > loss:
                break
            loss, words = losses[best], list(changed[best])
            example = example.with_words(changed[best])
            swapped.add(swaps[best][0])
        return example

    def swaps(self, example: Any, words: list[Word], swapped: set[int]) -> list[tuple[int, str]]:
        """Return the swaps of the highest gain, (place, text), the highest first."""
        found, gains = gains_of(self.predictor, example, self.vocabulary[0])
        places = aligned(words, found)
        rows = [
            n for n, place in places.items() if place not in swapped and _may_swap(words[place])
        ]
        if not rows:
            return []
        _, texts, scripts = self.vocabulary
        table = gains[rows]  # (words, vocabulary)
        for row, n in enumerate(rows):
            word = words[places[n]].text
            table[row, scripts != script(word)] = -np.inf
            table[row, self.spellings.get(word.lower(), [])] = -np.inf
        best = np.argpartition(-table, min(TRIED, table.size - 1), axis=None)[:TRIED]
        best = best[np.argsort(-table.flat[best], kind="stable")]
        pairs = [divmod(int(index), table.shape[1]) for index in best if table.flat[index] > 0]
        return [(places[rows[row]], texts[column]) for row, column in pairs]

    @torch.no_grad()
    def losses(self, examples: Iterable[Any]) -> list[float]:
        """Compute the loss of each variant of one example."""
        task, model = self.predictor.task, self.predictor.model
        items: list[Item] = [
            item for _, item in encode_all(task, self.predictor.tokenizer, examples)
        ]
        if not items:
            return []
        alone = [Batch.of([item]).to(model.device) for item in items]
        whole = Batch.of(items).to(model.device)
        outputs = task.outputs(model, whole)
        if isinstance(outputs, Tensor) and len(outputs) == len(items):  # a row for each item
            rows = [outputs[n : n + 1] for n in range(len(items))]
        else:
            rows = [task.outputs(model, batch) for batch in alone]
        return [float(loss_of(task, *pair)) for pair in zip(rows, alone, strict=True)]

    @cached_property
    def vocabulary(
        self,
    ) -> tuple[Int[np.ndarray, " vocabulary"], list[str], Int[np.ndarray, " vocabulary"]]:
        """Return the tokens that are whole words, these words, and the script of each."""
        pairs = list(WholeWords.of(self.predictor.tokenizer))
        texts = [text for _, text in pairs]
        ids = np.array([id for id, _ in pairs], np.int64)
        return ids, texts, np.array([script(text) for text in texts], np.int64)

    @cached_property
    def spellings(self) -> dict[str, list[int]]:
        """Return the indices in the vocabulary of each word, whatever its case."""
        found: dict[str, list[int]] = {}
        for number, text in enumerate(self.vocabulary[1]):
            found.setdefault(text.lower(), []).append(number)
        return found


def script(word: str) -> int:
    """Return 0 for a word of ASCII letters, 1 for one of a script without spaces, or else 2."""
    return 0 if word.isascii() else 2 - all(unspaced_edges(word))


def _may_swap(word: Word) -> bool:
    return word.is_free and word.is_untagged


def _with(words: list[Word], place: int, text: str) -> Words:
    """Put another word in the place of one; a capital stays."""
    return (*words[:place], *replaced(words[place], text), *words[place + 1 :])
