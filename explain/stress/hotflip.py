"""Swap words by the gradient: those whose embeddings raise the loss most (HotFlip, Ebrahimi et al.
2018, arXiv:1712.06751).

    gain(w → v) = Σ (e_v − e_t) · ∂L/∂e_t    over the tokens t at which w stands        first order

    1   of all words w of the text and v of the vocabulary, take the 8 swaps of the highest gain
    2   compute the loss of each; keep the best, if it raises the loss
    3   go on with the other words, until a share of them is swapped

Both words are single tokens of one script; words with a tag or in an answer stay. The worst that a
few words can do: unlike a typo, a swap may well change what the text says.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from plainformer.base import UserError
from plainformer.base.words import unspaced_edges
from plainformer.encoder import SentenceEncoder
from plainformer.encoder.embedding_rows import embedding_rows
from plainformer.encoder.int8 import is_int8
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.explain.attribution.words import WordOf, words_of
from plainformer.finetune.augment import WholeWords
from plainformer.finetune.augment.choose import number_of, replaced
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.data.words import Word, Words
from plainformer.finetune.prediction.predictor import Predictor, encode_all
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding

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
        found, gains = self.gains(example)
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
        best = np.argsort(-table, axis=None, kind="stable")[:TRIED]
        pairs = [divmod(int(index), table.shape[1]) for index in best if table.flat[index] > 0]
        return [(places[rows[row]], texts[column]) for row, column in pairs]

    def gains(self, example: Any) -> tuple[list[WordOf], Float[np.ndarray, "words vocabulary"]]:
        """Compute the gain of each word of one token, for each word of the vocabulary."""
        task, model, tokenizer = self.predictor.task, self.predictor.model, self.predictor.tokenizer
        ((_, item),) = encode_all(task, tokenizer, [example])
        words = [w for w in words_of(task, example, item, tokenizer)[1] if _is_one_token(w)]
        batch = Batch.of([item]).to(model.device)
        table = model.base.embeddings.tokens.weight.detach()
        vectors = table[batch.input_ids].requires_grad_()
        with torch.enable_grad(), embedding_rows(model, vectors):
            loss = loss_of(task, task.outputs(model, batch), batch)
            (gradient,) = torch.autograd.grad(loss, vectors)
        starts = np.cumsum([0, *batch.sequences.lengths])[batch.places.cpu().numpy()]
        tokens = [[int(starts[s]) + position for s, position in word.places] for word in words]
        size = gradient.shape[-1]
        sums = torch.stack([gradient[t].sum(0) for t in tokens] or [gradient.new_zeros(size)])
        products = (gradient * vectors.detach()).sum(-1)
        own = torch.stack([products[t].sum() for t in tokens] or [gradient.new_zeros(())])
        new = sums @ table[self.vocabulary[0]].T  # (words, vocabulary)
        return words, (new - own[:, None]).double().cpu().numpy()

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


def can_flip(model: PretrainedModel) -> bool:
    """Tell whether a model has gradients to follow."""
    is_static = isinstance(model, SentenceEncoder) and model.layout.is_static
    return not is_int8(model) and not is_static


def loss_of(task: AnyTask, outputs: Any, batch: Batch[Any]) -> Float[Tensor, ""]:
    """Compute the loss of labelled items; of texts that are to find their pairs, −cosine."""
    if isinstance(task, SentenceEmbedding) and task.scale is None:
        return -torch.nn.functional.cosine_similarity(outputs[0], outputs[1], dim=-1)
    total: Float[Tensor, ""] = task.loss(outputs, batch)[0]
    return total


def aligned(words: list[Word], found: list[WordOf]) -> dict[int, int]:
    """Match words of the model's input with those of the example: index in `found` -> place.

    They differ where a template or marks stand between them, or the tokenizer splits otherwise.
    """
    texts = [word.text.lower() for word in words]
    strings = [word.string.lower() for word in found]
    blocks = SequenceMatcher(None, strings, texts, autojunk=False).get_matching_blocks()
    return {a + n: b + n for a, b, size in blocks for n in range(size)}


def script(word: str) -> int:
    """Return 0 for a word of ASCII letters, 1 for one of a script without spaces, or else 2."""
    return 0 if word.isascii() else 2 - all(unspaced_edges(word))


def _is_one_token(word: WordOf) -> bool:
    """Tell whether a word is one token in each sequence that holds it."""
    return len({sequence for sequence, _ in word.places}) == len(word.places)


def _may_swap(word: Word) -> bool:
    return word.is_free and word.is_untagged


def _with(words: list[Word], place: int, text: str) -> Words:
    """Put another word in the place of one; a capital stays."""
    return (*words[:place], *replaced(words[place], text), *words[place + 1 :])
