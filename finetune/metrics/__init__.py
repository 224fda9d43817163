"""How good predictions are: each metric grows by one example at a time, and hoards nothing."""

from finetune.metrics.answers import AnswerMetric
from finetune.metrics.classes import ClassMetric
from finetune.metrics.labels import LabelsMetric
from finetune.metrics.metric import Metric, Mistake, Table
from finetune.metrics.numbers import NumberMetric

__all__ = [
    "AnswerMetric",
    "ClassMetric",
    "LabelsMetric",
    "Metric",
    "Mistake",
    "NumberMetric",
    "Table",
]
