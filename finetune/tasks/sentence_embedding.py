"""Train sentence embeddings: one vector per text, close to those of texts of like meaning.

    cos(a, b) = eₐ · e_b / |eₐ| |e_b|,   e = the text's vector: the mean of its tokens', by default

    pairs with a score     loss = (cos(a, b) − s)²,  s the score on a scale from 0 to 1
    pairs without          loss = −log softmax(20 · cos(aᵢ, ·))[bᵢ]  over all b of the batch

The first is the regression of Sentence-BERT (Reimers & Gurevych 2019, arXiv:1908.10084). The second
takes the pairs of other texts, and the `negative` that an example may have, as negatives (van den
Oord et al. 2018, arXiv:1807.03748; Henderson et al. 2017, arXiv:1705.00652): it is
`MultipleNegativesRankingLoss` of sentence-transformers. The texts of an example are encoded apart.

A folder of sentence-transformers keeps what it declares: pooling, the layers after it, length limit
and default prompt. The fine-tuned folder is one again: `Embedder` and `SentenceTransformer` open it
and compute the same vectors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.base import UserError, find_folder
from plainformer.corpora import Doubtful, Row
from plainformer.encoder import SentenceEncoder, ops
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.static import LONGEST
from plainformer.encoder.weights.sentence import read_layout
from plainformer.encoder.weights.sentence_layout import SentenceLayout
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.data.example import Prediction, known
from plainformer.finetune.embedder import as_declared, longest
from plainformer.finetune.length import default_length, positions
from plainformer.finetune.metrics import NumberMetric, RetrievalMetric
from plainformer.finetune.task import Task
from plainformer.finetune.task_options import PoolingOptions, TaskOptions
from plainformer.finetune.tasks.regression import read_score
from plainformer.finetune.tasks.texts import TextExample
from plainformer.finetune.tuning.adapter import add_tensors
from plainformer.tokenizer import Tokenizer, load_tokenizer
from plainformer.training import Loss

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

SCALE = 20.0
"""Factor of the cosines before the softmax: 1 / temperature."""


@dataclass(frozen=True, kw_only=True)
class SentenceExample(TextExample):
    """A text with one of similar meaning, or with any other and the score of their similarity."""

    negative: str | None = None
    """A text of another meaning."""
    score: float | None = None
    """The similarity of text and pair."""
    labelled: bool = True
    """True where pair, negative and score are known to be right."""

    @property
    def stratum(self) -> float:
        """Return the score, if there is one."""
        return self.score or 0.0

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the text, and its pair and its negative if there are any."""
        return tuple(t for t in (self.text, self.pair, self.negative) if t is not None)

    def with_texts(self, texts: Sequence[str]) -> "SentenceExample":
        """Return the example with other texts in the same roles."""
        roles = [r for r in ("text", "pair", "negative") if getattr(self, r) is not None]
        named: dict[str, Any] = dict(zip(roles, texts, strict=True))
        return replace(self, **named)


@dataclass(frozen=True)
class SentencePrediction(Prediction):
    """The vector of each text of an example."""

    vectors: Float[np.ndarray, "texts size"]
    scale: tuple[float, float] | None
    """The lowest and the highest score."""

    @property
    def directions(self) -> Float[np.ndarray, "texts size"]:
        """Return the vectors, scaled to length 1."""
        lengths = np.linalg.norm(self.vectors, axis=1, keepdims=True)
        directions: Float[np.ndarray, "texts size"] = self.vectors / np.maximum(lengths, 1e-12)
        return directions

    @property
    def cosine(self) -> float:
        """Return the similarity of text and pair, from −1 to 1."""
        text, pair = self.directions[:2]
        return float(text @ pair)

    @property
    def score(self) -> float:
        """Return the similarity on the scale of the scores."""
        low, high = self.scale or (0.0, 1.0)
        return low + (high - low) * self.cosine

    def to_json(self) -> dict[str, Any]:
        """Return cosine and score of a pair, the score if it was learned; the vector of a text."""
        if len(self.vectors) == 1:
            return {"vector": self.vectors[0].tolist()}
        return {"cosine": self.cosine, **({} if self.scale is None else {"score": self.score})}


@dataclass(frozen=True, kw_only=True)
class SentenceEmbeddingOptions(PoolingOptions):
    """Represent texts by vectors; texts of like meaning get near vectors."""

    name: Literal["sentence-embedding"] = "sentence-embedding"

    declares_length: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class SentenceEmbedding(Task[SentenceExample, Item, SentencePrediction]):
    """Represent each text by a vector, close to those of similar texts."""

    Options: ClassVar[type[TaskOptions]] = SentenceEmbeddingOptions
    COLUMNS: ClassVar[tuple[str, ...]] = ("text", "pair", "negative", "score")
    scale: tuple[float, float] | None
    """The lowest and the highest score of the training examples; None where they have none."""
    prompt: str = ""
    """The prompt before each text."""
    lower_case: bool = False
    """Lowercase texts before tokenisation."""

    @classmethod
    def fit(
        cls, config: "FinetuneConfig", examples: Sequence[SentenceExample]
    ) -> "SentenceEmbedding":
        """Find the scale of the scores; either all examples have a score, or none."""
        reading = declared(config.model, config.max_length)
        scores = [example.score for example in examples if example.score is not None]
        if not scores:
            alone = min(config.batch_size, len(examples)) < 2 * config.accumulate
            if alone and not any(example.negative for example in examples):
                raise UserError(
                    "in-batch negatives need at least two pairs in each part of a batch: take a "
                    "larger batch_size, or a smaller accumulate"
                )
            return cls(scale=None, **reading)
        scale = min(scores), max(scores)
        task = cls(scale=scale, **reading)
        for example in examples:
            task.check(example)
        if scale[0] == scale[1]:
            raise UserError(
                f"{examples[0].file}: every pair has the score {scale[0]}: nothing to learn"
            )
        return task

    @classmethod
    def read(cls, row: Row, labelled: bool = True) -> SentenceExample:
        """Read a row with `text`, `pair`, and an optional `score`, a finite number, or `negative`.

        Unlabelled, `pair` may be missing, too.
        """
        place = row.source
        text = row.string("text")
        if not labelled:
            pair = row.optional("pair")
            return SentenceExample(text=text, pair=pair, source=place, labelled=False)
        pair = row.sure_string("pair")
        negative = row.optional("negative")
        is_scored = row.has("score") and not isinstance(row.fields["score"], Doubtful)
        score = read_score(row) if is_scored else None
        for name, value in (("text", text), ("pair", pair), ("negative", negative)):
            if value is not None and not value.strip():
                raise UserError(f"{place}: the {name} is empty")
        if score is not None and negative is not None:
            raise UserError(f"{place}: a pair has a score or a negative, not both")
        return SentenceExample(text=text, pair=pair, negative=negative, score=score, source=place)

    def check(self, example: SentenceExample) -> None:
        """Raise `UserError` where an example has a score and others have none, or the reverse."""
        if not example.labelled or (example.score is None) == (self.scale is None):
            return
        if example.score is None:
            raise UserError(f"{example.source}: no score, where training examples have one")
        raise UserError(
            f"{example.source}: a score, but the model knows no scale of scores: `plainformer "
            "finetune` learns it from scored pairs, and with --epochs 0 leaves the model as it is"
        )

    @classmethod
    def of_folder(cls, folder: Path) -> "SentenceEmbedding":
        """Make the task with the settings of a sentence-transformers folder, to look inside."""
        return cls(scale=None, **declared(folder, learns=False))

    def build(self, config: "FinetuneConfig") -> PretrainedModel:
        """Load the pretrained encoder and the modules that its folder declares."""
        model = SentenceEncoder.from_pretrained(config.model, **config.text_settings)
        model.layout = replace(model.layout, max_length=self.max_length)
        return model

    def load(self, folder: Path) -> PretrainedModel:
        """Load the encoder in `folder`."""
        return SentenceEncoder.from_pretrained(folder, add=add_tensors)

    def encode(self, example: SentenceExample, tokenizer: Tokenizer) -> Item:
        """Encode each text as a sequence, each with the score from 0 to 1."""
        self.check(example)
        texts = (
            as_declared(self.prompt + text, tokenizer, self.lower_case) for text in example.texts
        )
        encodings = tuple(tokenizer.encode(text, max_length=self.max_length) for text in texts)
        if not all(encodings):
            raise UserError("a text has no tokens: leave it out")
        if self.scale is None or example.score is None:
            return Item(encodings)
        low, high = self.scale
        target = np.array([(example.score - low) / (high - low)], np.float32)
        return Item(encodings, (target,) * len(encodings))

    def outputs(self, model: PretrainedModel, batch: Batch[Item]) -> Float[Tensor, "texts size"]:
        """Compute the vector of each text."""
        vectors: Tensor = super().outputs(model, batch)
        return batch.in_order(vectors.float())

    def loss(self, outputs: Float[Tensor, "texts size"], batch: Batch[Item]) -> Loss:
        """Compute the squared error of the cosines, or the contrastive loss of the pairs."""
        vectors = torch.nn.functional.normalize(outputs, dim=-1)
        first = [0, *accumulate(batch.counts[:-1])]
        starts = batch.on_device(first)
        texts, pairs = vectors[starts], vectors[starts + 1]
        if self.scale is not None:
            errors = (texts * pairs).sum(-1) - batch.first(batch.targets)
            return Loss(errors.square().sum(), len(errors))
        with_negative = zip(first, batch.counts, strict=True)
        others = vectors[batch.on_device([start + 2 for start, n in with_negative if n == 3])]
        return in_batch(texts, torch.cat([pairs, others]))

    def divergence(
        self,
        outputs: Float[Tensor, "texts size"],
        others: Float[Tensor, "texts _"],
        batch: Batch[Item],
        temperature: float = 1.0,
    ) -> Loss:
        """Compute the squared distance of the vectors: a mean over the texts of each example.

        Vectors of different sizes have none: it is then that of the cosines of a text with each
        text of the batch, as a mean (Tung and Mori 2019, arXiv:1907.09682).
        """
        counts = batch.on_device(batch.counts)
        if outputs.shape[-1] == others.shape[-1]:
            distances = ((outputs - others) / temperature).square().sum(-1)
        else:
            apart = (cosines(outputs) - cosines(others)) / temperature
            distances = apart.square().mean(-1)
        return Loss((distances / counts[batch.owners]).sum(), len(batch.counts))

    def select(
        self, outputs: Float[Tensor, "texts size"], batch: Batch[Item], places: Sequence[int]
    ) -> tuple[Float[Tensor, "_ size"], Batch[Item]]:
        """Select the vectors of all texts of some of the items."""
        chosen = torch.isin(batch.owners, batch.owners.new_tensor(places))
        return outputs[chosen], batch.select(places)

    def average(
        self, outputs: Sequence[Float[Tensor, "texts _"]], temperature: float = 1.0
    ) -> Float[Tensor, "texts _"]:
        """Join the vectors, each scaled to the same length: their cosines are the mean cosines."""
        vectors = [torch.nn.functional.normalize(x, dim=-1) for x in outputs]
        return torch.cat(vectors, -1) / math.sqrt(len(vectors))

    def predict(
        self, outputs: Float[Tensor, "texts size"], batch: Batch[Item]
    ) -> list[SentencePrediction]:
        """Predict the vectors of each item."""
        vectors = torch.split(outputs.detach().cpu(), list(batch.counts))
        return [SentencePrediction(some.numpy(), self.scale) for some in vectors]

    @property
    def predicts_labels(self) -> bool:
        """Tell whether scores are learned."""
        return self.scale is not None

    def pseudo_label(
        self, example: SentenceExample, prediction: SentencePrediction
    ) -> SentenceExample:
        """Return the example with the predicted score, where scores are learned."""
        if self.scale is None:
            return super().pseudo_label(example, prediction)
        return replace(example, score=prediction.score, labelled=True)

    def metric(self) -> NumberMetric | RetrievalMetric:
        """Measure the correlation with the scores; or how often a text finds its pair."""
        return RetrievalMetric() if self.scale is None else NumberMetric()

    def add_to(
        self,
        metric: NumberMetric | RetrievalMetric,
        example: SentenceExample,
        prediction: SentencePrediction,
    ) -> None:
        """Add the true and the predicted score; or the directions of a text and its pair."""
        if isinstance(metric, NumberMetric):
            metric.add(known(example.score), prediction.score, example.source, example.preview)
        else:
            metric.add(prediction.directions[:2], example.text, known(example.pair), example.source)


def declared(model: str | Path, max_length: int = 0, learns: bool = True) -> dict[str, Any]:
    """Read prompt, case and length limit from a folder; `max_length` 0: the declared limit.

    Raises:
        UserError: something `learns`, and the folder declares what that does not support.
    """
    folder = find_folder(model)
    layout = read_layout(folder)
    if layout is None:
        return {"max_length": max_length or default_length(folder)}
    if learns and layout.similarity != "cosine":
        raise UserError(
            f"{folder}: similarity_fn_name {layout.similarity!r} is not supported where something "
            "is learned: only 'cosine' is"
        )
    if learns and layout.prompt and not layout.include_prompt:
        raise UserError(
            f"{folder}: a default prompt with include_prompt false is not supported in this task"
        )
    return {
        "max_length": max_length or declared_length(folder / layout.encoder, layout),
        "prompt": layout.prompt,
        "lower_case": layout.lower_case,
    }


def declared_length(folder: Path, layout: SentenceLayout) -> int:
    """Return the longest text in tokens that layout, tokenizer and model allow."""
    most = LONGEST if layout.is_static else positions(folder)
    return longest(layout, load_tokenizer(folder), most)


def cosines(vectors: Float[Tensor, "texts size"]) -> Float[Tensor, "texts texts"]:
    """Compute the cosine of each text with each."""
    directions = torch.nn.functional.normalize(vectors, dim=-1)
    return directions @ directions.T


def in_batch(
    texts: Float[Tensor, "items size"], candidates: Float[Tensor, "candidates size"]
) -> Loss:
    """Compute the cross-entropy of each text's own candidate, at its index, among all."""
    cosines = texts @ candidates.T
    own = torch.arange(len(texts), device=texts.device)
    correct = (cosines.detach().argmax(-1) == own).sum()
    total = ops.cross_entropy(SCALE * cosines, own)
    return Loss(total, len(texts), {"accuracy": correct})
