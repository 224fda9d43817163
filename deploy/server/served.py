"""Hold one model: how it reads the inputs of a request, and what it computes of a batch."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from plainformer.base import AUTO, Inference, UserError, find_folder, nan_to_null
from plainformer.corpora import Row
from plainformer.deploy.runtimes import Runtime, choose_runtime
from plainformer.encoder import Encoder, MaskedLM, check_finite, use_huge_pages
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.data.rows import Input, as_rows, bounded
from plainformer.finetune.embedder import Embedder
from plainformer.finetune.ensemble import outputs_of
from plainformer.finetune.prediction.outputs import answer
from plainformer.finetune.prediction.predictor import Predictor, encode_all
from plainformer.finetune.task_file import task_of
from plainformer.finetune.tasks import name_of
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding, SentencePrediction
from plainformer.finetune.tasks.tagging.task import Tagging
from plainformer.tokenizer import Tokenizer


@dataclass(frozen=True, eq=False)
class Served:
    """A model for a task, for sentence vectors, or for both."""

    folder: Path
    predictor: Predictor | None
    """None for an encoder that was fine-tuned for no task."""
    embedder: Embedder | None
    """None for a model whose head is not for sentence vectors."""
    masked: MaskedLM | None = None
    """The model that predicts masked tokens; None for a folder without that head."""
    runtime: Runtime = "torch"
    """The name of the runtime that computes the batches."""
    exported: PretrainedModel | None = None
    """The exported model in that runtime; None: the model itself computes the batches."""

    @classmethod
    def load(cls, folder: Path, inference: Inference = AUTO, runtime: Runtime = "auto") -> "Served":
        """Load a folder, and choose what computes its batches: see `deploy.runtimes`.

        Raises `UserError` for a folder without a model, and a runtime that cannot be chosen.
        """
        one = cls._load(folder, inference)
        if one.embedder is not None and one.embedder.skipped:  # the graph pools every token
            if runtime not in ("auto", "torch"):
                raise UserError(f"{folder} has a prompt that is not pooled: take --runtime torch")
            use_huge_pages(one.model)
            return one
        taken, model = choose_runtime(
            runtime, find_folder(folder), one.model, one.tokenizer, one.max_length, inference.int8
        )
        if taken == "torch":
            use_huge_pages(one.model)
        return replace(one, runtime=taken, exported=None if taken == "torch" else model)

    @classmethod
    def _load(cls, folder: Path, inference: Inference) -> "Served":
        """Load a folder; a pretrained encoder gives sentence vectors, without a task."""
        found = find_folder(folder)
        task = task_of(found)
        if task is None or isinstance(task, SentenceEmbedding):
            embedder = Embedder.load(found, **asdict(inference))
            if task is None:
                inner = found / embedder.model.layout.encoder
                return cls(folder, None, embedder, masked_lm(inner, embedder.model.base))
            return cls(folder, Predictor(task, embedder.model, embedder.tokenizer), embedder)
        return cls.of_task(folder, Predictor.load(found, **asdict(inference)))

    @classmethod
    def of_task(cls, folder: Path, predictor: Predictor) -> "Served":
        """Serve a fine-tuned model; a tagger reads long texts in windows, not cut."""
        task, model = predictor.task, predictor.model
        if isinstance(task, Tagging):
            predictor = replace(predictor, task=replace(task, overflow="windows"))
        return cls(folder, predictor, None, model if isinstance(model, MaskedLM) else None)

    @property
    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer."""
        part = self.predictor or self.embedder
        assert part is not None
        return part.tokenizer

    @property
    def model(self) -> PretrainedModel:
        """Return the model."""
        part = self.predictor or self.embedder
        assert part is not None
        return part.model

    @property
    def num_layers(self) -> int:
        """Return the number of layers; 0 for static vectors."""
        is_static = self.embedder is not None and self.embedder.model.layout.is_static
        return 0 if is_static else self.model.config.num_hidden_layers

    @property
    def max_length(self) -> int:
        """Return the tokens of the longest sequence."""
        if self.predictor is not None:
            return self.predictor.task.max_length
        assert self.embedder is not None
        return self.embedder.max_length

    @property
    def task_name(self) -> str:
        """Return the name of the task; "embedding" for an encoder without one."""
        return "embedding" if self.predictor is None else name_of(type(self.predictor.task))

    def read(self, inputs: Sequence[Input]) -> tuple[list[Row], list[Item]]:
        """Encode the inputs of a prediction; raise `UserError` for one that is not of the task."""
        if self.predictor is None:
            raise UserError("this model was fine-tuned for no task: ask /embed")
        task, tokenizer = self.predictor.task, self.predictor.tokenizer
        rows = list(bounded(task.naming((), task.columns).of(as_rows(inputs))))
        examples = [task.read(row, labelled=False) for row in rows]
        return rows, [item for _, item in encode_all(task, tokenizer, examples)]

    def read_texts(self, texts: Sequence[str]) -> list[Item]:
        """Encode texts for their vectors; raise `UserError` for a model that gives none."""
        if self.embedder is None:
            raise UserError(
                f"this model is for {self.task_name}: name one of sentence vectors, or ask /predict"
            )
        return self.embedder.items(texts)

    @torch.no_grad()
    def compute(self, items: Sequence[Item]) -> list[Any]:
        """Compute one batch: a prediction for each item, or the vectors of its sequences."""
        if self.embedder is not None:
            vectors = self.embedder.vectors(items, self.exported)
            bounds = accumulate((len(item.encodings) for item in items), initial=0)
            return [vectors[begin:end] for begin, end in pairwise(bounds)]
        assert self.predictor is not None
        task, model = self.predictor.task, self.exported or self.predictor.model
        batch = Batch.of(items).to(model.device)
        outputs = outputs_of(task, model, batch)
        check_finite(outputs)
        return list(task.predict(outputs, batch))

    def answers(self, rows: Sequence[Row], results: Sequence[Any]) -> list[dict[str, Any]]:
        """Join each row with its prediction, as `plainformer predict` prints it."""
        return [
            nan_to_null(answer(row, self._prediction(result)))
            for row, result in zip(rows, results, strict=True)
        ]

    def _prediction(self, result: Any) -> Any:
        if self.embedder is None:
            return result
        task = self.predictor and self.predictor.task
        assert isinstance(task, SentenceEmbedding)
        return SentencePrediction(result, task.scale)


def masked_lm(folder: Path, encoder: Encoder) -> MaskedLM | None:
    """Load the head for masked tokens on an encoder that is there; None where there is no head."""
    try:
        model = MaskedLM.from_pretrained(folder)
    except UserError:
        return None
    model.encoder = encoder
    return model.to(next(encoder.parameters())).requires_grad_(False)


def cosines(
    query: Float[np.ndarray, " size"], others: Sequence[Float[np.ndarray, " size"]]
) -> list[float]:
    """Compute the cosine of a vector with each of others: q · o / |q| |o|."""
    x = np.stack([query, *others]).astype(np.float64)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    found: list[float] = (x[1:] @ x[0]).tolist()
    return found
