"""Predict from one vector per text, with a `SequenceClassifier`.

Classification, multi-label classification and regression differ only in the names of the outputs,
the target of an example, the loss and the prediction. The outputs of a text that is read in windows
are the mean over its windows.
"""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from jaxtyping import Float, Shaped
from torch import Tensor

from plainformer.base import UserError, did_you_mean
from plainformer.encoder import SequenceClassifier
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.task import PredictionT, Task
from plainformer.finetune.tasks.texts import OVERLAP, TextT
from plainformer.finetune.tuning.adapter import add_tensors
from plainformer.tokenizer import Encoding, Tokenizer
from plainformer.tokenizer.encoding import windows

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig


@dataclass(frozen=True, kw_only=True)
class SequenceTask(Task[TextT, Item, PredictionT]):
    """A task on texts; a subclass defines the meaning of the outputs."""

    problem_type: ClassVar[
        Literal["single_label_classification", "multi_label_classification", "regression"]
    ]
    """The meaning of the outputs, as `config.json` has it."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """Name the outputs: the labels; by default there is one, named as in `transformers`."""
        return ("LABEL_0",)

    @abstractmethod
    def target(self, example: TextT) -> Shaped[np.ndarray, "1 ..."] | None:
        """Return the target of the loss; None for an unlabelled example."""

    def build(self, config: "FinetuneConfig") -> PretrainedModel:
        """Build the pretrained encoder under a new classifier."""
        return SequenceClassifier.from_pretrained(
            config.model,
            labels=self.output_names,
            **config.text_settings,
            problem_type=self.problem_type,
        )

    def load(self, folder: Path) -> PretrainedModel:
        """Load the classifier in `folder`."""
        return SequenceClassifier.from_pretrained(folder, add=add_tensors)

    def encode(self, example: TextT, tokenizer: Tokenizer) -> Item:
        """Encode a text as one sequence, or as windows, each with the target of the text."""
        encodings, target = self.encodings(example, tokenizer), self.target(example)
        return Item(encodings, () if target is None else (target,) * len(encodings))

    def encodings(self, example: TextT, tokenizer: Tokenizer) -> tuple[Encoding, ...]:
        """Encode a text, or a text and its pair, as one sequence or as windows.

        Of a pair, the second text is split into windows, each after the whole first text; the first
        is cut where it would leave less than half of the tokens to the second.
        """
        text, pair = example.text, example.pair
        if self.overflow == "truncate":
            return (tokenizer.encode(text, pair, max_length=self.max_length),)
        stride = self.max_length // OVERLAP
        if pair is None:
            return tuple(tokenizer.windows(text, max_length=self.max_length, stride=stride))
        first, second = tokenizer.tokens(text), tokenizer.tokens(pair)
        room = tokenizer.template.room(self.max_length, is_pair=True)
        assert room is not None
        kept = first[: max(room // 2, room - len(second))]
        size, lost = max(room - len(kept), 1), len(first) - len(kept)  # 0 of an empty pair
        cuts = windows(len(second), size, min(stride, size - 1))
        return tuple(tokenizer.template.encode(kept, second[cut], lost) for cut in cuts)

    def outputs(self, model: PretrainedModel, batch: Batch[Item]) -> Float[Tensor, "items outputs"]:
        """Compute the outputs of each text: the mean over its windows."""
        return self.calibrated(batch.mean(super().outputs(model, batch).float()))


def label_number(label: str, labels: tuple[str, ...], source: str) -> int:
    """Return the position of a label; raise `UserError` for one that is not among `labels`."""
    if label not in labels:
        raise UserError(
            f"{source}: the label {label!r} is not among those the model learns: "
            f"{', '.join(labels)}{did_you_mean(label, labels)}"
        )
    return labels.index(label)
