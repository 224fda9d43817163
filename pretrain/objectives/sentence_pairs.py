"""Sentence pairs: does the second segment follow the first?

    [CLS] first [SEP] second [SEP]        loss = −log softmax(W pooler(x) + c)[class]

- `nsp`, next-sentence prediction (Devlin et al. 2018, arXiv:1810.04805): in half of the pairs the
  second segment is that of another document, as a rule of the same batch;
- `sop`, sentence-order prediction (Lan et al. 2019, arXiv:1909.11942): in half of the pairs the two
  segments are swapped.

Sentence boundaries are unknown, so a document is cut in two at the beginning of a word, drawn from
those in its middle half. Class 0 is the original pair. With mlm or denoise beside it, both losses
come from one forward pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Int64

from plainformer.base import UserError, find_folder, read_json
from plainformer.encoder import EncoderConfig, PairedMaskedLM
from plainformer.encoder.flops import paired_masked_lm_flops
from plainformer.encoder.weights import FAMILIES, find
from plainformer.pretrain.batch import Corruption, MaskedBatch, PackedText, Segment
from plainformer.pretrain.corpus import Shard
from plainformer.pretrain.data import Chunks, Rows
from plainformer.pretrain.masking import Masking
from plainformer.pretrain.objectives.base import MASKING_OPTIONS, PretrainingObjective
from plainformer.pretrain.objectives.cross_entropy import cross_entropy_loss
from plainformer.pretrain.objectives.masked_lm import MaskedLMObjective
from plainformer.tokenizer import Tokenizer
from plainformer.training import Loss, Objective, Term, weighted_sum

if TYPE_CHECKING:
    from plainformer.pretrain.config import PretrainConfig

PairName = Literal["nsp", "sop"]
ONE_DOCUMENT = (
    "nsp needs two documents of at least two tokens in the training text and in the held-out text: "
    "give more text, or hold out a larger share"
)


@dataclass(frozen=True)
class SegmentPairs:
    """Chunks of documents, each cut in two, and short enough for the second [SEP]."""

    chunks: Chunks
    name: PairName

    def __len__(self) -> int:
        """Return the number of blocks of all shards."""
        return len(self.chunks)

    def __getitem__(self, block: int) -> Rows:
        """Return the chunks of a block that have at least two tokens."""
        chunks = self.chunks[block]
        return chunks[self.chunks.lengths(chunks) >= 4]

    def lengths(self, items: Rows) -> Int64[np.ndarray, " items"]:
        """Return the tokens of each pair, its three special tokens included."""
        return self.chunks.lengths(items) + 1

    def text(self, items: Rows, rng: np.random.Generator) -> PackedText:
        """Cut these chunks, make half of the pairs wrong, and pack them, shorter ones first."""
        items = items[np.argsort(self.lengths(items), kind="stable")]
        chunks = items.tolist()
        pairs = [cut(*self.chunks.tokens(chunk), rng) for chunk in chunks]
        wrong = rng.random(len(pairs)) < 0.5
        if self.name == "sop":
            pairs = [pair[::-1] if w else pair for pair, w in zip(pairs, wrong, strict=True)]
        else:
            self._rotate(chunks, pairs, wrong, rng)
        sizes = [len(first[0]) + len(second[0]) for first, second in pairs]
        by_size = np.argsort(sizes, kind="stable")
        rows = [pairs[i] for i in by_size.tolist()]
        return PackedText.packed(rows, self.chunks.tokenizer, wrong[by_size].astype(np.int64))

    def _rotate(
        self,
        chunks: list[list[int]],
        pairs: list[tuple[Segment, Segment]],
        wrong: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        """Give each `wrong` pair, in place, the second segment of the next one.

        Neighbours have similar lengths. Where the next pair is of the same document (as in a batch
        of one), the segment is that of a document elsewhere. One that is too long is cut.
        """
        room = self.chunks.max_length - 2
        chosen, seconds = np.flatnonzero(wrong).tolist(), [second for _, second in pairs]
        for i, j in zip(chosen, [*chosen[1:], *chosen[:1]], strict=True):
            is_own = self.chunks.document(chunks[i]) == self.chunks.document(chunks[j])
            ids, starts = self._elsewhere(chunks[i], rng) if is_own else seconds[j]
            first = pairs[i][0]
            keep = min(room - len(first[0]), len(seconds[j][0]))  # the batch must not grow
            pairs[i] = first, (ids[:keep], starts[:keep])

    def _elsewhere(self, chunk: list[int], rng: np.random.Generator) -> Segment:
        """Cut the second segment of another document: of a block drawn, the nearest in length."""
        shard, begin, end = self.chunks.document(chunk)
        drawn = int(rng.integers(len(self)))
        for block in range(drawn, drawn + len(self)):
            rows = self[block % len(self)]
            rows = rows[(rows[:, 0] != shard) | (rows[:, 1] < begin) | (rows[:, 1] >= end)]
            if len(rows):
                sizes = rows[:, 2] - rows[:, 1]
                nearest = rows[np.abs(sizes - (chunk[2] - chunk[1])).argmin()]
                return cut(*self.chunks.tokens(nearest.tolist()), rng)[1]
        raise UserError(ONE_DOCUMENT)


def cut(ids: np.ndarray, starts: np.ndarray, rng: np.random.Generator) -> tuple[Segment, Segment]:
    """Cut a text in two at the beginning of a word in its middle half, else of the nearest word."""
    size = len(ids)
    words = np.flatnonzero(starts[1:]) + 1
    places = words if len(words) else np.arange(1, size)
    middle = places[np.abs(2 * places - size) <= size / 2]
    nearest = places[np.abs(2 * places - size).argmin()]
    at = int(rng.choice(middle) if len(middle) else nearest)
    return (ids[:at], starts[:at]), (ids[at:], starts[at:])


def no_token_targets(text: PackedText, rng: np.random.Generator, step: int = 0) -> MaskedBatch:
    """Keep the text, without token targets: only the order of pairs is predicted."""
    none = np.empty(0, np.int64)
    return text.with_targets(none, none)


@dataclass(frozen=True)
class SentencePairs:
    """The loss of pairs, and of token targets where the objective for these is named."""

    name: PairName
    tokens: str | None = None

    def __call__(self, model: PairedMaskedLM, batch: MaskedBatch) -> Loss:
        """Compute both losses in one forward pass; "accuracy" counts correctly predicted items."""
        assert batch.order is not None
        logits, pair_logits = model(
            batch.input_ids,
            token_type_ids=batch.token_type_ids,
            sequences=batch.sequences,
            target_positions=batch.target_positions,
        )
        pairs = cross_entropy_loss(pair_logits, batch.order)
        if self.tokens is None:
            return pairs
        tokens = Term(cross_entropy_loss(logits, batch.labels), batch.counts.targets)
        return weighted_sum({self.tokens: tokens, self.name: Term(pairs, batch.counts.sequences)})


class SentencePairObjective(PretrainingObjective[PairedMaskedLM]):
    """Predict the order of two segments, and tokens where an objective for these is given."""

    model_class = PairedMaskedLM
    unit = "pair"
    preset_family = "bert"

    def __init__(self, name: PairName, tokens: MaskedLMObjective | None = None) -> None:
        self.name: PairName = name
        self.tokens = tokens
        self.options = MASKING_OPTIONS if tokens else frozenset()
        self.predicts_tokens = tokens is not None
        self.token_metric = f"{tokens.name}_loss" if tokens else None

    def check(self, config: "PretrainConfig") -> None:
        """Raise `UserError` for sequences that have no room for a pair."""
        if config.max_length < 5:
            raise UserError(f"max_length must be at least 5 for {self.name}: three are special")

    def beside(self, other: PretrainingObjective[Any]) -> "SentencePairObjective | None":
        """Add the objective for tokens: mlm, or one that differs from it in its batches only."""
        if not isinstance(other, MaskedLMObjective):
            return None
        return SentencePairObjective(self.name, other)

    def build(self, config: "PretrainConfig", shape: EncoderConfig) -> PairedMaskedLM:
        """Build a model with heads for pairs and tokens."""
        if shape.classifier_head != "pooler" or shape.type_vocab_size < 2:
            raise UserError(
                f"{config.preset} has no head for pairs: for {self.name} choose a preset "
                "bert-tiny … bert-base, albert-tiny or albert-base"
            )
        return PairedMaskedLM(shape)

    def load(self, config: "PretrainConfig", folder: Path) -> PairedMaskedLM:
        """Load the model to continue from; raise `UserError` where it has no head for pairs."""
        raw = read_json(find(find_folder(folder)) / "config.json")
        family = FAMILIES.get(str(raw.get("model_type")))
        if family is not None and self.model_class.class_name not in family.heads:
            raise UserError(
                f"{folder} is a {family.model_type}, which has no head for pairs: for {self.name} "
                "continue from a BERT or an ALBERT"
            )
        return super().load(config, folder)

    def read(
        self, config: "PretrainConfig", shards: Sequence[Shard], tokenizer: Tokenizer
    ) -> SegmentPairs:
        """Read pairs of segments; raise `UserError` for nsp where there is but one document."""
        documents = chain.from_iterable(np.diff(shard.documents) for shard in shards)
        if self.name == "nsp" and len(list(islice(filter(lambda n: n >= 2, documents), 2))) < 2:
            raise UserError(ONE_DOCUMENT)
        return SegmentPairs(Chunks(shards, tokenizer, config.max_length - 1), self.name)

    def corrupt(self, masking: Masking) -> Corruption:
        """Corrupt the tokens if they are predicted, too."""
        return self.tokens.corrupt(masking) if self.tokens else no_token_targets

    def loss(
        self, config: "PretrainConfig", tokenizer: Tokenizer
    ) -> Objective[PairedMaskedLM, MaskedBatch]:
        """Return the loss of pairs, and of tokens."""
        return SentencePairs(self.name, self.tokens.name if self.tokens else None)

    def flops(
        self,
        model: PairedMaskedLM,
        loss: Objective[PairedMaskedLM, MaskedBatch],
        batch: MaskedBatch,
    ) -> int:
        """Count three forward passes."""
        return 3 * paired_masked_lm_flops(model.config, batch.sequences, len(batch.labels))

    def loss_label(self, config: "PretrainConfig") -> str:
        """Return the label of the loss axis in a run's plot."""
        both = f"loss: {self.tokens.name} + {self.name}" if self.tokens else None
        return both or super().loss_label(config)
