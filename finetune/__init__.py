"""The second stage: a pretrained encoder learns labels, is measured, and predicts."""

from finetune.config import FinetuneConfig
from finetune.data import Example, Texts, few_of_each, label_names, read_examples
from finetune.embedding import Embedder
from finetune.metrics import Report
from finetune.objective import classification
from finetune.predict import Classifier, Prediction, probabilities
from finetune.run import Outcome, evaluate_folder, finetune, measure

__all__ = [
    "Classifier",
    "Embedder",
    "Example",
    "FinetuneConfig",
    "Outcome",
    "Prediction",
    "Report",
    "Texts",
    "classification",
    "evaluate_folder",
    "few_of_each",
    "finetune",
    "label_names",
    "measure",
    "probabilities",
    "read_examples",
]
