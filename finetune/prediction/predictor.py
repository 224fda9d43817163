"""Predict with a fine-tuned model, in a stream.

predictor = Predictor.load("runs/questions")
predictor(["who wrote this?"])[0].label
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from plainformer.base import Inference, UserError
from plainformer.base.inference import Precision
from plainformer.corpora import Row
from plainformer.encoder import check_finite
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch, Item, ItemT, by_length
from plainformer.finetune.data.example import ExampleT
from plainformer.finetune.data.rows import Input, as_rows, bounded
from plainformer.finetune.ensemble import Finetuned, Folders, folders_of, joined, outputs_of
from plainformer.finetune.metrics import Metric
from plainformer.finetune.placement import Placement
from plainformer.finetune.task import AnyTask, PredictionT, Task
from plainformer.tokenizer import Tokenizer
from plainformer.training import distributed_map

T = TypeVar("T")

CHUNK = 1024  # examples that are sorted by length together

Progress = Callable[[int], None]
"""A function that is called with the number of examples predicted since its last call."""


def no_progress(count: int) -> None:
    """Ignore the progress."""


@dataclass(frozen=True)
class Predictor:
    """A fine-tuned model with its tokenizer and its task."""

    task: AnyTask
    model: PretrainedModel
    tokenizer: Tokenizer

    @classmethod
    def load(
        cls,
        folder: Folders,
        device: str = "auto",
        int8: bool = False,
        precision: Precision = "auto",
    ) -> "Predictor":
        """Load a fine-tuned model, or the ensemble of those in several folders.

        The options are those of `base.Inference`: on a GPU the weights are in half precision, on a
        CPU those of the blocks are prepacked (see `encoder.prepack_weights`), or rounded (see
        `encoder.quantize_int8`). Raises `UserError` for a folder without a model, and for several
        of different tasks, labels or tokenizers.
        """
        placement = Placement.of(Inference(device, precision, int8))
        members = [Finetuned.load(each) for each in folders_of(folder)]
        for member in members:
            placement.prepare(member.model)
        whole = joined(members)
        return cls(whole.task, whole.model, whole.tokenizer)

    def __call__(self, inputs: Iterable[Input]) -> list[Any]:
        """Predict for each text, pair or row, in order."""
        rows = self.task.naming((), self.task.columns).of(as_rows(inputs))
        examples = (self.task.read(row, labelled=False) for row in bounded(rows))
        return [prediction for _, _, prediction in self.predict_examples(examples)]

    def predict_rows(
        self, rows: Iterable[Row], progress: Progress = no_progress
    ) -> Iterator[tuple[Row, Item, Any]]:
        """Yield each row with its encoded input and its prediction, in order.

        Rows before a faulty one are yielded first.
        """
        waiting: deque[Row] = deque()

        def examples() -> Iterator[Any]:
            for row in bounded(rows):
                example = self.task.read(row, labelled=False)
                waiting.append(row)
                yield example

        for _, item, prediction in self.predict_examples(examples(), progress):
            yield waiting.popleft(), item, prediction

    def predict_examples(
        self, examples: Iterable[Any], progress: Progress = no_progress
    ) -> Iterator[tuple[Any, Item, Any]]:
        """Yield each example with its encoded input and its prediction, in order."""
        pairs = encode_all(self.task, self.tokenizer, examples)
        return predict_stream(self.task, self.model, pairs, progress=progress, finite=True)


def encode_all(
    task: Task[ExampleT, ItemT, PredictionT], tokenizer: Tokenizer, examples: Iterable[ExampleT]
) -> Iterator[tuple[ExampleT, ItemT]]:
    """Encode examples, in a stream; raise `UserError` by file and line for a faulty one."""
    for example in examples:
        try:
            item = task.encode(example, tokenizer)
        except UserError as error:
            named = str(error).startswith(f"{example.file}:")
            raise error if named else UserError(f"{example.source}: {error}") from None
        yield example, item


@dataclass
class MeanLoss:
    """The mean loss over batches."""

    total: float = 0.0
    count: int = 0

    def add(self, total: float, count: int) -> None:
        """Add the loss of `count` items."""
        self.total += total
        self.count += count

    @property
    def value(self) -> float:
        """Return the mean so far."""
        return self.total / max(self.count, 1)


def predict_stream(
    task: Task[ExampleT, ItemT, PredictionT],
    model: PretrainedModel,
    pairs: Iterable[tuple[ExampleT, ItemT]],
    loss: MeanLoss | None = None,
    progress: Progress = no_progress,
    finite: bool = False,
) -> Iterator[tuple[ExampleT, ItemT, PredictionT]]:
    """Yield each example with its prediction, in order; similar lengths share a batch.

    `CHUNK` examples are in memory at a time. The loss of labelled examples is added to `loss`.
    Examples before a faulty one are yielded first. Several processes share the batches, and each
    yields all predictions. With `finite`, outputs of NaN or infinity raise a `UserError`; in
    training they only give a bad score.
    """
    device = model.device
    model.eval()

    @torch.no_grad()
    def predict(items: list[tuple[int, ItemT]]) -> tuple[dict[int, PredictionT], float, int]:
        batch = Batch.of([item for _, item in items]).to(device)
        outputs = outputs_of(task, model, batch)
        if finite:
            check_finite(outputs)
        total, count = (0.0, 0) if loss is None else task.loss(outputs, batch)[:2]
        found = zip((number for number, _ in items), task.predict(outputs, batch), strict=True)
        return dict(found), float(total), count

    for some in chunks(pairs, CHUNK):
        predictions: dict[int, PredictionT] = {}
        batches = by_length([item for _, item in some])
        for found, total, count in distributed_map(predict, batches):
            predictions |= found
            if loss is not None:
                loss.add(total, count)
            progress(len(found))
        for index, (example, item) in enumerate(some):
            yield example, item, predictions[index]


def measure(
    task: Task[ExampleT, ItemT, PredictionT],
    model: PretrainedModel,
    pairs: Iterable[tuple[ExampleT, ItemT]],
    loss: MeanLoss | None = None,
) -> Metric:
    """Evaluate the model on labelled examples."""
    metric = task.metric()
    for example, _, prediction in predict_stream(task, model, pairs, loss):
        task.add_to(metric, example, prediction)
    return metric


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Split items into lists of `size`; a shorter one comes last, or before a `UserError`."""
    some: list[T] = []
    try:
        for item in items:
            some.append(item)
            if len(some) == size:
                yield some
                some = []
    except UserError:
        yield some
        raise
    if some:
        yield some
