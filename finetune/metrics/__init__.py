"""How good predictions are: each metric grows by one example at a time, and hoards nothing."""

from finetune.metrics.answers import AnswerMetric
from finetune.metrics.classes import ClassMetric
from finetune.metrics.metric import Metric, Mistake, Table

__all__ = ["AnswerMetric", "ClassMetric", "Metric", "Mistake", "Table"]
