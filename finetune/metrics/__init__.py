"""Metrics of predictions, updated one example at a time."""

from plainformer.finetune.metrics.base import Metric, Mistake, Table, rankable
from plainformer.finetune.metrics.choice import ChoiceMetric
from plainformer.finetune.metrics.classification import ClassMetric
from plainformer.finetune.metrics.multi_label import LabelsMetric
from plainformer.finetune.metrics.regression import NumberMetric
from plainformer.finetune.metrics.relation import RelationMetric
from plainformer.finetune.metrics.retrieval import RetrievalMetric
from plainformer.finetune.metrics.spans import AnswerMetric

__all__ = [
    "AnswerMetric",
    "ChoiceMetric",
    "ClassMetric",
    "LabelsMetric",
    "Metric",
    "Mistake",
    "NumberMetric",
    "RelationMetric",
    "RetrievalMetric",
    "Table",
    "rankable",
]
