"""The second stage: a pretrained encoder learns a task, is measured, and predicts."""

from finetune.config import FinetuneConfig
from finetune.embedding import Embedder
from finetune.evaluate import Evaluation, evaluate_folder
from finetune.examples import few_of_each, read_examples
from finetune.metrics import Metric, Mistake, Table
from finetune.predict import Predictor
from finetune.run import Outcome, finetune
from finetune.several import Summary, several
from finetune.task import Task
from finetune.tasks import TASKS

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
