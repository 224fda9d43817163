"""List the tasks by name; each file defines one: options, a data shape, a head and a metric."""

from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.classification import Classification
from plainformer.finetune.tasks.multi_label import MultiLabel
from plainformer.finetune.tasks.multiple_choice import MultipleChoice
from plainformer.finetune.tasks.prompt import Prompt
from plainformer.finetune.tasks.question_answering import QuestionAnswering
from plainformer.finetune.tasks.regression import Regression
from plainformer.finetune.tasks.relation import Relation
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding
from plainformer.finetune.tasks.tagging.task import Tagging

TASKS: dict[str, type[AnyTask]] = {
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


def name_of(kind: type[AnyTask]) -> str:
    """Return the name of a task; of one that is not registered, that of its class."""
    return next((name for name, task in TASKS.items() if task is kind), kind.__name__)
