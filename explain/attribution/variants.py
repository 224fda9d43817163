"""Compute the decisions of one input again: with other tokens, or with other token vectors.

variants = Variants(task, model, item, words, decisions, mask_id)
variants.values(kept)             # (variants, decisions), with the words that are not kept masked
variants.products([0.5])          # gradient × (input − baseline), halfway between both
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from plainformer.encoder.embedding_rows import embedding_rows
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.explain.attribution.decision import Decision
from plainformer.explain.attribution.words import WordOf
from plainformer.finetune.data.batch import BATCH_TOKENS, Batch, Item
from plainformer.finetune.prediction.predictor import Progress, no_progress
from plainformer.finetune.task import AnyTask
from plainformer.tokenizer import Encoding, Tokens

Kind = Literal["value", "certainty"]


@dataclass(frozen=True)
class Variants:
    """A model on one input and its variants: the same sequences, with other tokens in them."""

    task: AnyTask
    model: PretrainedModel
    item: Item
    words: tuple[WordOf, ...]
    decisions: Sequence[Decision]
    mask_id: int
    """The token that stands for what is taken away."""
    progress: Progress = no_progress
    """Called with the number of variants computed since its last call."""

    @cached_property
    def places(self) -> tuple[Int[Tensor, " places"], Int[Tensor, " places"]]:
        """Return the tokens of words, as indices of the flat input, and the word of each."""
        starts = np.cumsum([0, *(len(encoding) for encoding in self.item.encodings)])
        pairs = [
            (int(starts[sequence]) + position, number)
            for number, word in enumerate(self.words)
            for sequence, position in word.places
        ]
        return torch.tensor([p for p, _ in pairs]), torch.tensor([w for _, w in pairs])

    def of_words(
        self, of_tokens: Float[Tensor, "*rest tokens"]
    ) -> Float[np.ndarray, "*rest words"]:
        """Add up the numbers of the tokens of each word; special tokens are left out."""
        (tokens, words), numbers = self.places, of_tokens.cpu().double()
        sums = numbers.new_zeros(*numbers.shape[:-1], len(self.words))
        found: Float[np.ndarray, "*rest words"] = sums.index_add(
            -1, words, numbers[..., tokens]
        ).numpy()
        return found

    def batch(self, copies: int) -> Batch[Any]:
        """Pack copies of the input."""
        return Batch.of([self.item] * copies).to(self.model.device)

    @torch.no_grad()
    def values(
        self, kept: Bool[np.ndarray, "variants words"], kind: Kind = "value"
    ) -> Float[np.ndarray, "variants decisions"]:
        """Compute the decisions where the words that are not kept are masked, in batches."""
        items = [self.masked(row) for row in kept]
        size = max(1, BATCH_TOKENS // self.item.num_tokens)
        found = []
        for start in range(0, len(items), size):
            batch = Batch.of(items[start : start + size]).to(self.model.device)
            outputs = self.task.outputs(self.model, batch)
            numbers = [getattr(one, kind)(outputs, batch) for one in self.decisions]
            found.append(torch.stack(numbers, -1).cpu().double().numpy())
            self.progress(len(batch.items))
        return np.concatenate(found)

    def masked(self, kept: Bool[np.ndarray, " words"]) -> Item:
        """Return the item with the mask in place of the words that are not kept."""
        hidden = {
            place
            for word, stays in zip(self.words, kept, strict=True)
            if not stays
            for place in word.places
        }
        encodings = [
            _with_mask(encoding, {p for s, p in hidden if s == number}, self.mask_id)
            for number, encoding in enumerate(self.item.encodings)
        ]
        return replace(self.item, encodings=tuple(encodings))

    @cached_property
    def vectors(self) -> tuple[Float[Tensor, "tokens size"], Float[Tensor, "tokens size"]]:
        """Return the token vectors of the input and of its baseline, where words are masked."""
        nothing = np.zeros(len(self.words), bool)
        rows = []
        for item in (self.item, self.masked(nothing)):
            ids = [i for encoding in item.encodings for i in encoding.ids]
            table = self.model.base.embeddings.tokens
            rows.append(table(torch.tensor(ids, device=self.model.device)).detach())
        return rows[0], rows[1]

    def products(self, alphas: Sequence[float]) -> Float[np.ndarray, "alphas decisions words"]:
        """Compute (x − b) · ∂F/∂x of each word at b + α (x − b), for each α and each decision F.

        x are the token vectors of the input, and b those of its baseline.
        """
        x, b = self.vectors
        batch = self.batch(len(alphas))
        steps = torch.tensor(alphas, dtype=x.dtype, device=x.device)
        points = (b + steps[:, None, None] * (x - b)).flatten(0, 1)  # (alphas · tokens, size)
        order = self.packed_order(batch)
        rows, change = points[order].requires_grad_(), (x - b).repeat(len(alphas), 1)[order]
        found = []
        with torch.enable_grad(), embedding_rows(self.model, rows):
            for number in self.numbers(batch):
                (gradient,) = torch.autograd.grad(number, rows, retain_graph=True)
                found.append(self.unpacked((gradient * change).sum(-1), batch))
        self.progress(len(alphas))
        # (decisions, alphas · tokens) → (alphas, decisions, tokens)
        tokens = torch.stack(found).view(len(self.decisions), len(alphas), -1)
        return self.of_words(tokens.transpose(0, 1))

    def numbers(self, batch: Batch[Any]) -> list[Float[Tensor, ""]]:
        """Compute the sum over a batch of each number that is attributed."""
        outputs = self.task.outputs(self.model, batch)
        return [one.value(outputs, batch).sum() for one in self.decisions]

    def packed_order(self, batch: Batch[Any]) -> Int[Tensor, " tokens"]:
        """Return, for each token of the packed batch, its index in the order of the items."""
        lengths = [len(encoding) for item in batch.items for encoding in item.encodings]
        starts = np.cumsum([0, *lengths[:-1]])
        order = np.argsort(batch.places.cpu().numpy())  # the sequence at each place of the batch
        index = np.concatenate([starts[i] + np.arange(lengths[i]) for i in order])
        return torch.from_numpy(index).to(batch.input_ids.device)

    def unpacked(
        self, x: Shaped[Tensor, "*rest tokens"], batch: Batch[Any]
    ) -> Shaped[Tensor, "*rest tokens"]:
        """Reorder the tokens of a packed batch to the order of the items."""
        return torch.empty_like(x).index_copy(-1, self.packed_order(batch), x)


def _with_mask(encoding: Encoding, places: set[int], mask_id: int) -> Encoding:
    """Return the sequence with the mask at some positions."""
    parts, start = [], 0
    for tokens, type_id, owner in encoding.parts:
        ids = [mask_id if start + n in places else i for n, i in enumerate(tokens.ids)]
        parts.append((Tokens(ids, tokens.offsets, tokens.word_ids), type_id, owner))
        start += len(tokens)
    return Encoding(tuple(parts), encoding.dropped)
