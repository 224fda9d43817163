"""Choose what is kept and measured for a task."""

from plainformer.base import UserError
from plainformer.explain.results.label_results import (
    RECALL,
    LabelResults,
    class_scores,
    entity_scores,
    multi_label_scores,
    of_entities,
    of_label,
    of_labels,
    of_tags,
    relation_scores,
)
from plainformer.explain.results.number_results import (
    MeanResults,
    NumberResults,
    RankResults,
    answer_f1,
    answer_match,
)
from plainformer.explain.results.results import Results
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.classification import OneLabel
from plainformer.finetune.tasks.multi_label import MultiLabel
from plainformer.finetune.tasks.multiple_choice import MultipleChoice
from plainformer.finetune.tasks.question_answering import QuestionAnswering
from plainformer.finetune.tasks.regression import Regression
from plainformer.finetune.tasks.relation import Relation
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding
from plainformer.finetune.tasks.tagging.task import Tagging


def results_of(task: AnyTask) -> Results:
    """Return the empty results of a task; raise `UserError` for one without scores."""
    if isinstance(task, Relation):
        return LabelResults(task.labels, of_label, relation_scores(task.negative))
    if isinstance(task, OneLabel):
        return LabelResults(task.labels, of_label, class_scores)
    if isinstance(task, MultiLabel):
        return LabelResults(task.labels, of_labels, multi_label_scores)
    if isinstance(task, Tagging):
        if task.marks_entities:
            return LabelResults((), of_entities, entity_scores, rates=(RECALL,))
        return LabelResults((), of_tags, class_scores, rates=(RECALL,))
    if isinstance(task, MultipleChoice):
        return MeanResults({"accuracy": lambda e, p: float(p.number == e.right)})
    if isinstance(task, QuestionAnswering):
        return MeanResults({"f1": answer_f1, "exact_match": answer_match})
    if isinstance(task, SentenceEmbedding) and task.scale is None:
        return RankResults()
    if isinstance(task, Regression | SentenceEmbedding):
        return NumberResults()
    raise UserError(f"{type(task).__name__} has no scores to compare between groups")
