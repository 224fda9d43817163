"""Fine-tune from few labels, with texts that have none, or with pairs of those that have one.

    finetune(FinetuneConfig(…, unlabelled=UnlabelledOptions("texts.txt")))    self-training, PET
    finetune(FinetuneConfig(…, task=ClassificationOptions(contrastive=20)))    SetFit

Self-training, and PET with several templates of the task `prompt`, train in stages: see `stages`.
"""

from typing import TYPE_CHECKING, Any

from plainformer.finetune.data.fingerprint import Fingerprints
from plainformer.finetune.few_labels.logistic_regression import logistic_regression
from plainformer.finetune.few_labels.options import UnlabelledOptions
from plainformer.finetune.few_labels.pairs import contrastive_pairs
from plainformer.finetune.few_labels.pet import pet
from plainformer.finetune.few_labels.self_training import confident, self_train
from plainformer.finetune.few_labels.soft_labels import SoftClassification, SoftExample, ensemble
from plainformer.finetune.few_labels.stages import Train
from plainformer.finetune.outcome import Outcome
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.prompt import PromptOptions

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

__all__ = [
    "SoftClassification",
    "SoftExample",
    "UnlabelledOptions",
    "confident",
    "contrastive_pairs",
    "ensemble",
    "logistic_regression",
    "pet",
    "self_train",
    "train_with_unlabelled",
]


def train_with_unlabelled(
    train: Train,
    task: AnyTask,
    examples: list[Any],
    held_out: list[Any],
    config: "FinetuneConfig",
    new: Fingerprints | None,
    quiet: bool,
) -> Outcome:
    """Train by PET where there are several templates, else by self-training."""
    has_templates = isinstance(config.task, PromptOptions) and config.task.templates
    method = pet if has_templates else self_train
    return method(train, task, examples, held_out, config, new, quiet)
