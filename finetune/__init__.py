"""The second stage: a pretrained encoder learns a task, is measured, and predicts."""

from plainformer.finetune.config import FinetuneConfig
from plainformer.finetune.data.examples import few_of_each, read_examples
from plainformer.finetune.embedder import Embedder
from plainformer.finetune.evaluation import Evaluation, evaluate_folder
from plainformer.finetune.metrics import Metric, Mistake, Table
from plainformer.finetune.prediction.predictor import Predictor
from plainformer.finetune.run import Outcome, finetune
from plainformer.finetune.sweep import Summary, several
from plainformer.finetune.task import Task
from plainformer.finetune.tasks import TASKS

__all__ = [
    "TASKS",
    "Embedder",
    "Evaluation",
    "FinetuneConfig",
    "Metric",
    "Mistake",
    "Outcome",
    "Predictor",
    "Summary",
    "Table",
    "Task",
    "evaluate_folder",
    "few_of_each",
    "finetune",
    "read_examples",
    "several",
]
