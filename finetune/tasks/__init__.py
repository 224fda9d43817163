"""The tasks by name, each a file: a head, a data shape and a metric."""

from typing import Any

from finetune.task import Task
from finetune.tasks.classification import Classification
from finetune.tasks.multi_label import MultiLabel
from finetune.tasks.multiple_choice import MultipleChoice
from finetune.tasks.prompt import Prompt
from finetune.tasks.question_answering import QuestionAnswering
from finetune.tasks.regression import Regression
from finetune.tasks.relation import Relation
from finetune.tasks.sentence_embedding import SentenceEmbedding
from finetune.tasks.tagging import Tagging

TASKS: dict[str, type[Task[Any, Any]]] = {
    "classification": Classification,
    "multi-label": MultiLabel,
    "multiple-choice": MultipleChoice,
    "prompt": Prompt,
    "question-answering": QuestionAnswering,
    "regression": Regression,
    "relation": Relation,
    "sentence-embedding": SentenceEmbedding,
    "tagging": Tagging,
}
