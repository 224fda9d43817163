"""Pairs of segments: does the second one follow the first?

    [CLS] first [SEP] second [SEP]        loss = −log softmax(W pooler(x) + c)[class]

- `nsp`, next-sentence prediction (Devlin et al. 2018, arXiv:1810.04805): the second segment is that
  of another document in half of the pairs;
- `sop`, sentence-order prediction (Lan et al. 2019, arXiv:1909.11942): the two segments are swapped
  in half of the pairs.

A document is a text without known sentences, so its two segments are made by a cut: at the
beginning of a word, drawn from those in the middle half of the text. Class 0 is the text as it was.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int64

from plainformer.encoder import PairedMaskedLM
from plainformer.pretrain.batch import MaskedBatch, PackedText, Segment
from plainformer.pretrain.data import Chunks, Rows
from plainformer.pretrain.objectives.cross_entropy import cross_entropy_loss
from plainformer.training import Loss, Term, weighted_sum

PairName = Literal["nsp", "sop"]


@dataclass(frozen=True)
class SegmentPairs:
    """Chunks of documents, each cut in two; `chunks` leave room for the second [SEP]."""

    chunks: Chunks
    name: PairName

    def __len__(self) -> int:
        """Blocks of all shards."""
        return len(self.chunks)

    def __getitem__(self, block: int) -> Rows:
        """The chunks of a block of at least two tokens."""
        chunks = self.chunks[block]
        return chunks[self.chunks.lengths(chunks) >= 4]

    def lengths(self, items: Rows) -> Int64[np.ndarray, " items"]:
        """Tokens of each pair with its three special tokens."""
        return self.chunks.lengths(items) + 1

    def text(self, items: Rows, rng: np.random.Generator) -> PackedText:
        """These pairs, some of them made wrong, packed, shorter ones first."""
        items = items[np.argsort(self.lengths(items), kind="stable")]
        chunks = items.tolist()
        pairs = [cut(*self.chunks.tokens(chunk), rng) for chunk in chunks]
        wrong = rng.random(len(pairs)) < 0.5
        if self.name == "sop":
            pairs = [pair[::-1] if w else pair for pair, w in zip(pairs, wrong, strict=True)]
        else:
            wrong = self._exchange(chunks, pairs, wrong)
        sizes = [len(first[0]) + len(second[0]) for first, second in pairs]
        by_size = np.argsort(sizes, kind="stable")
        rows = [pairs[i] for i in by_size.tolist()]
        return PackedText.packed(rows, self.chunks.tokenizer, wrong[by_size].astype(np.int64))

    def _exchange(
        self, chunks: list[list[int]], pairs: list[tuple[Segment, Segment]], wrong: np.ndarray
    ) -> np.ndarray:
        """Let neighbours among the `wrong` pairs exchange their second segments.

        Neighbours are of like length, so length tells nothing; what is too long then is cut. A
        pair without a neighbour of another document stays right. Returns which pairs are wrong.
        """
        room = self.chunks.max_length - 2
        exchanged = np.zeros(len(pairs), bool)
        chosen = np.flatnonzero(wrong).tolist()
        for i, j in zip(chosen[::2], chosen[1::2], strict=False):
            if self.chunks.document(chunks[i]) != self.chunks.document(chunks[j]):
                for k, (ids, starts) in ((i, pairs[j][1]), (j, pairs[i][1])):
                    keep = room - len(pairs[k][0][0])
                    pairs[k] = pairs[k][0], (ids[:keep], starts[:keep])
                exchanged[[i, j]] = True
        return exchanged


def cut(ids: np.ndarray, starts: np.ndarray, rng: np.random.Generator) -> tuple[Segment, Segment]:
    """A text in two, at the beginning of a word in its middle half, or as near as there is one."""
    size = len(ids)
    words = np.flatnonzero(starts[1:]) + 1
    places = words if len(words) else np.arange(1, size)
    middle = places[np.abs(2 * places - size) <= size / 2]
    nearest = places[np.abs(2 * places - size).argmin()]
    at = int(rng.choice(middle) if len(middle) else nearest)
    return (ids[:at], starts[:at]), (ids[at:], starts[at:])


def no_token_targets(text: PackedText, rng: np.random.Generator, step: int = 0) -> MaskedBatch:
    """The text as it is, and no token asked for: pairs alone are learned from. A `Corruption`."""
    none = np.empty(0, np.int64)
    return text.with_targets(none, none)


@dataclass(frozen=True)
class SentencePairs:
    """The loss of pairs, and of tokens beside it where an objective for these has a name."""

    name: PairName
    tokens: str | None = None

    def __call__(self, model: PairedMaskedLM, batch: MaskedBatch) -> Loss:
        """Both losses from one pass over the pairs; "accuracy" is the share that is right."""
        assert batch.order is not None
        logits, pair_logits = model(
            batch.input_ids,
            token_type_ids=batch.token_type_ids,
            sequences=batch.sequences,
            at=batch.target_positions,
        )
        pairs = cross_entropy_loss(pair_logits, batch.order)
        if self.tokens is None:
            return pairs
        tokens = Term(cross_entropy_loss(logits, batch.labels), batch.counts.targets)
        return weighted_sum({self.tokens: tokens, self.name: Term(pairs, batch.counts.sequences)})
