"""Tag the words of a sentence with entities or with plain labels such as parts of speech."""

from plainformer.finetune.tasks.tagging.crf import CRF, Chain, Posterior
from plainformer.finetune.tasks.tagging.entities import EntityMetric
from plainformer.finetune.tasks.tagging.iob import Span, iob2, is_legal, spans
from plainformer.finetune.tasks.tagging.sentences import Sentence
from plainformer.finetune.tasks.tagging.task import Tagging

__all__ = [
    "CRF",
    "Chain",
    "EntityMetric",
    "Posterior",
    "Sentence",
    "Span",
    "Tagging",
    "iob2",
    "is_legal",
    "spans",
]
