"""The interface of a pretraining objective: one object for all that a run needs of it.

build, load      the model: with random weights, or from a folder to continue from
read             the text: chunks of documents, or pairs of segments
corrupt          a text → a batch: the tokens that the model sees, and the targets
loss             of a batch in training; `held_out_loss` in evaluation
flops            of training on a batch
save             the model folder
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from plainformer.encoder import EncoderConfig
from plainformer.encoder.int8 import refuse_int8
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.pretrain.batch import Corruption, MaskedBatch
from plainformer.pretrain.corpus import Shard
from plainformer.pretrain.data import Chunks, TextSource
from plainformer.pretrain.masking import Masking
from plainformer.tokenizer import Tokenizer
from plainformer.training import Objective

if TYPE_CHECKING:
    from plainformer.pretrain.config import PretrainConfig

ModelT = TypeVar("ModelT", bound=PretrainedModel)
MASKING_OPTIONS = frozenset({"mask_ratio", "mask_ratio_end", "masking"})


def is_given(config: "PretrainConfig", option: str) -> bool:
    """Tell whether an option has another value than its default."""
    defaults = {field.name: field.default for field in fields(config)}
    return bool(getattr(config, option) != defaults[option])


class PretrainingObjective(ABC, Generic[ModelT]):
    """A way to learn from unlabelled text."""

    name: str
    """Its name on the command line."""
    model_class: type[ModelT]
    options: frozenset[str] = frozenset()
    """The options that it reads beyond those that every objective reads."""
    unit: str = "token"
    """The item over which the loss is a mean."""
    preset_family: str = "modern"
    """The family of presets from which a budget chooses."""
    predicts_tokens: bool = True
    """True where its batches have token targets."""
    token_metric: str | None = "loss"
    """The metric that is the mean loss of a predicted token; perplexity is its exponential."""
    extends_vocabulary: bool = False
    """Allow the vocabulary of a model to continue from to grow."""

    def check(self, config: "PretrainConfig") -> None:
        """Raise `UserError` for values of options that do not work together."""

    def beside(self, other: "PretrainingObjective[Any]") -> "PretrainingObjective[Any] | None":
        """Return the objective that learns both in one forward pass; None where none can."""
        return None

    def build(self, config: "PretrainConfig", shape: EncoderConfig) -> ModelT:
        """Build a model of this shape with random weights.

        Raises `UserError` when the family of `shape` lacks the heads of the objective.
        """
        return self.model_class(shape)

    def load(self, config: "PretrainConfig", folder: Path) -> ModelT:
        """Load the model to continue from; heads that the folder lacks start at random.

        Raises `UserError` when there is no model, when its family lacks the heads, and when it has
        fewer positions than `max_length`.
        """
        model = self.model_class.from_pretrained(folder, new_head=True)
        refuse_int8(model)
        model.config.check_max_length(config.max_length, str(folder))
        return model

    def read(
        self, config: "PretrainConfig", shards: Sequence[Shard], tokenizer: Tokenizer
    ) -> TextSource:
        """Read the sequences to learn from: here chunks of documents."""
        return Chunks(shards, tokenizer, config.max_length)

    @abstractmethod
    def corrupt(self, masking: Masking) -> Corruption:
        """Return the function that makes batches of texts.

        `masking` is that of the run's options in training, and BERT's in evaluation, so that runs
        are comparable.
        """

    @abstractmethod
    def loss(
        self, config: "PretrainConfig", tokenizer: Tokenizer
    ) -> Objective[ModelT, MaskedBatch]:
        """Return the loss to train on."""

    def held_out_loss(
        self, config: "PretrainConfig", tokenizer: Tokenizer
    ) -> Objective[ModelT, MaskedBatch]:
        """Return the loss of evaluation, which must not depend on options of training."""
        return self.loss(config, tokenizer)

    @abstractmethod
    def flops(self, model: ModelT, loss: Objective[ModelT, MaskedBatch], batch: MaskedBatch) -> int:
        """Count the operations of training on a batch: three times those of a forward pass."""

    def save(self, model: ModelT, tokenizer: Tokenizer, folder: Path) -> None:
        """Save the model and its tokenizer."""
        model.save_pretrained(folder)
        tokenizer.save(folder)

    def loss_label(self, config: "PretrainConfig") -> str:
        """Return the label of the loss axis in a run's plot."""
        return f"loss, nats per {self.unit}"
