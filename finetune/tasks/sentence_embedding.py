"""Sentence embedding: a vector for each text, near to those of texts that mean the same.

    e = m / |m|,  m = the mean of the text's token vectors        cos(a, b) = eₐ · e_b

    pairs with a score     loss = (cos(a, b) − s)²,  s the score on a scale from 0 to 1
    pairs without          loss = −log softmax(20 · cos(aᵢ, ·))[bᵢ]  over all b of the batch

The first is the regression of Sentence-BERT (Reimers & Gurevych 2019, arXiv:1908.10084). The second
takes the pairs of the others, and the `negative` that an example may have, for what is not meant
(van den Oord et al. 2018, arXiv:1807.03748; Henderson et al. 2017, arXiv:1705.00652): it is
`MultipleNegativesRankingLoss` of sentence-transformers. The texts of an example are encoded apart.

The model is the encoder alone: its folder opens with `Embedder`, and as the bare model elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cellar import UserError
from corpora import Doubtful, Row
from encoder import Encoder, ops, pool
from encoder.pretrained import PretrainedModel
from finetune.batch import Batch, Item
from finetune.metrics import Metric, NumberMetric, RetrievalMetric
from finetune.task import Task
from finetune.tasks.regression import read_score
from finetune.tasks.texts import no_windows
from tokenizer import Tokenizer
from training import Loss

if TYPE_CHECKING:
    from finetune.config import FinetuneConfig

SHARPNESS = 20.0
"""by which cosines are multiplied before the softmax"""


@dataclass(frozen=True)
class SentenceExample:
    """A text, with one that belongs to it, or is like it to some degree."""

    text: str
    pair: str | None
    negative: str | None
    """a text that does not belong to it"""
    score: float | None
    """how alike text and pair are"""
    place: str
    labelled: bool
    """False where vectors are asked for: nothing is said of text and pair"""

    @property
    def shown(self) -> str:
        """Text and pair, as a person reads them."""
        return self.text if self.pair is None else f"{self.text} ⟷ {self.pair}"

    @property
    def texts(self) -> tuple[str, ...]:
        """All that it has."""
        return tuple(t for t in (self.text, self.pair, self.negative) if t is not None)


@dataclass(frozen=True)
class SentencePrediction:
    """The vector of each text of an example."""

    vectors: Float[np.ndarray, "texts hidden"]
    """of length 1"""
    scale: tuple[float, float] | None
    """the lowest and the highest score"""

    @property
    def cosine(self) -> float:
        """How alike text and pair are, from −1 to 1."""
        return float(self.vectors[0] @ self.vectors[1])

    @property
    def score(self) -> float:
        """The same on the scale of the scores."""
        low, high = self.scale or (0.0, 1.0)
        return low + (high - low) * self.cosine

    def to_json(self) -> dict[str, Any]:
        """The cosine of a pair, and its score where such were learned; the vector of a text."""
        if len(self.vectors) == 1:
            return {"vector": self.vectors[0].tolist()}
        return {"cosine": self.cosine, **({} if self.scale is None else {"score": self.score})}


@dataclass(frozen=True, kw_only=True)
class SentenceEmbedding(Task[SentenceExample, SentencePrediction]):
    """Which texts are alike?"""

    COLUMNS: ClassVar[tuple[str, ...]] = ("text", "pair", "negative", "score")
    scale: tuple[float, float] | None
    """the lowest and the highest score of the training examples; None where they have none"""

    @classmethod
    def fit(
        cls, config: "FinetuneConfig", examples: Sequence[SentenceExample]
    ) -> "SentenceEmbedding":
        """The scale goes from the lowest to the highest score; all examples have one, or none."""
        no_windows(config)
        scores = [example.score for example in examples if example.score is not None]
        if not scores:
            alone = min(config.batch_size, len(examples)) == 1
            if alone and not any(example.negative for example in examples):
                raise UserError("a pair is told from the others of its batch: there must be two")
            return cls(max_length=config.max_length, scale=None)
        scale = min(scores), max(scores)
        task = cls(max_length=config.max_length, scale=scale)
        for example in examples:
            task.check(example)
        if scale[0] == scale[1]:
            file = examples[0].place.rpartition(":")[0]
            raise UserError(f"{file}: every pair has the score {scale[0]}: nothing to learn")
        return task

    @classmethod
    def read(cls, row: Row, labelled: bool = True) -> SentenceExample:
        """A row has `text` and `pair`, and may have `score`, a finite number, or `negative`.

        Unlabelled, `pair` may be missing, too.
        """
        place = row.place
        text = row.string("text")
        if not labelled:
            return SentenceExample(text, row.optional("pair"), None, None, place, labelled)
        pair = row.sure_string("pair")
        negative = row.optional("negative")
        is_scored = row.has("score") and not isinstance(row.fields["score"], Doubtful)
        score = read_score(row) if is_scored else None
        for name, value in (("text", text), ("pair", pair), ("negative", negative)):
            if value is not None and not value.strip():
                raise UserError(f"{place}: the {name} is empty")
        if score is not None and negative is not None:
            raise UserError(f"{place}: a pair has a score or a negative, not both")
        return SentenceExample(text, pair, negative, score, place, labelled)

    @classmethod
    def stratum(cls, example: SentenceExample) -> float:
        """Its score, if it has one."""
        return example.score or 0.0

    def check(self, example: SentenceExample) -> None:
        """Raise `UserError` where an example has a score and others have none, or the reverse."""
        if example.labelled and (example.score is None) != (self.scale is None):
            mine, others = ("no score", "one") if example.score is None else ("a score", "none")
            raise UserError(f"{example.place}: {mine}, where training examples have {others}")

    def build(self, config: "FinetuneConfig") -> PretrainedModel:
        """The pretrained encoder."""
        return Encoder.from_pretrained(config.model, dropout=config.dropout)

    def load(self, folder: Path) -> PretrainedModel:
        """The encoder in `folder`."""
        return Encoder.from_pretrained(folder)

    def encode(self, example: SentenceExample, tokenizer: Tokenizer) -> Item:
        """A sequence for each text, each with the score from 0 to 1."""
        self.check(example)
        encodings = tuple(
            tokenizer.encode(text, max_length=self.max_length) for text in example.texts
        )
        if self.scale is None or example.score is None:
            return Item(encodings)
        low, high = self.scale
        target = np.array([(example.score - low) / (high - low)], np.float32)
        return Item(encodings, (target,) * len(encodings))

    def outputs(self, model: PretrainedModel, batch: Batch) -> Float[Tensor, "sequences hidden"]:
        """The vector of each text."""
        states = super().outputs(model, batch).last_hidden_state.float()
        return torch.nn.functional.normalize(pool(states, batch.sequences, "mean"), dim=-1)

    def loss(self, outputs: Float[Tensor, "sequences hidden"], batch: Batch) -> Loss:
        """The squared error of the cosines; or how far each pair is from being the nearest."""
        vectors = batch.in_order(outputs)
        starts = torch.tensor([0, *accumulate(batch.counts[:-1])], device=vectors.device)
        texts, pairs = vectors[starts], vectors[starts + 1]
        if self.scale is not None:
            errors = (texts * pairs).sum(-1) - batch.first(batch.targets)
            return Loss(errors.square().sum(), len(errors))
        has_negative = torch.tensor(batch.counts, device=vectors.device) == 3
        others = vectors[starts[has_negative] + 2]
        return in_batch(texts, torch.cat([pairs, others]))

    def predict(
        self, outputs: Float[Tensor, "sequences hidden"], batch: Batch
    ) -> list[SentencePrediction]:
        """The vectors of each item."""
        vectors = torch.split(batch.in_order(outputs.detach()).cpu(), list(batch.counts))
        return [SentencePrediction(some.numpy(), self.scale) for some in vectors]

    def metric(self) -> Metric[SentenceExample, SentencePrediction]:
        """Correlation with the scores; or how often a text finds its pair."""
        return RetrievalMetric() if self.scale is None else NumberMetric()


def in_batch(
    texts: Float[Tensor, "items hidden"], candidates: Float[Tensor, "candidates hidden"]
) -> Loss:
    """The cross-entropy of each text's own candidate, the one of its number, among all."""
    cosines = texts @ candidates.T
    own = torch.arange(len(texts), device=texts.device)
    correct = (cosines.detach().argmax(-1) == own).sum()
    total = ops.cross_entropy(SHARPNESS * cosines, own)
    return Loss(total, len(texts), {"accuracy": correct})
