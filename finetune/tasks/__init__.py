"""The tasks by name, each a file: a head, a data shape and a metric."""

from typing import Any

from finetune.task import Task
from finetune.tasks.classification import Classification
from finetune.tasks.question_answering import QuestionAnswering

TASKS: dict[str, type[Task[Any, Any]]] = {
    "classification": Classification,
    "question-answering": QuestionAnswering,
}
