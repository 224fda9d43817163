"""How good predictions are: each metric grows by one example at a time, and hoards nothing."""

from finetune.metrics.answers import AnswerMetric
from finetune.metrics.choices import ChoiceMetric
from finetune.metrics.classes import ClassMetric
from finetune.metrics.entities import EntityMetric, TagMetric
from finetune.metrics.labels import LabelsMetric
from finetune.metrics.metric import Metric, Mistake, Table
from finetune.metrics.numbers import NumberMetric
from finetune.metrics.relations import RelationMetric
from finetune.metrics.retrieval import RetrievalMetric

__all__ = [
    "AnswerMetric",
    "ChoiceMetric",
    "ClassMetric",
    "EntityMetric",
    "LabelsMetric",
    "Metric",
    "Mistake",
    "NumberMetric",
    "RelationMetric",
    "RetrievalMetric",
    "Table",
    "TagMetric",
]
