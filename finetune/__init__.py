"""Fine-tune a pretrained encoder on a task, evaluate it, and predict with it."""

from plainformer.finetune.augment import AugmentOptions
from plainformer.finetune.config import FinetuneConfig
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.data.examples import few_of_each, read_examples
from plainformer.finetune.distillation.options import DistillationOptions
from plainformer.finetune.embedder import Embedder
from plainformer.finetune.evaluation import Evaluation, evaluate_folder
from plainformer.finetune.fair import FairOptions
from plainformer.finetune.few_labels import UnlabelledOptions
from plainformer.finetune.metrics import Metric, Mistake, Table
from plainformer.finetune.outcome import Outcome
from plainformer.finetune.prediction.predictor import Predictor
from plainformer.finetune.report.figures import figures
from plainformer.finetune.robust import RobustOptions
from plainformer.finetune.soup import soup
from plainformer.finetune.sweep import Summary, finetune
from plainformer.finetune.task import Task
from plainformer.finetune.tasks import TASKS
from plainformer.finetune.tasks.classification import ClassificationOptions
from plainformer.finetune.tasks.multi_label import MultiLabelOptions
from plainformer.finetune.tasks.multiple_choice import MultipleChoiceOptions
from plainformer.finetune.tasks.prompt import PromptOptions
from plainformer.finetune.tasks.question_answering import QuestionAnsweringOptions
from plainformer.finetune.tasks.regression import RegressionOptions
from plainformer.finetune.tasks.relation import RelationOptions
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbeddingOptions, in_batch
from plainformer.finetune.tasks.tagging.task import TaggingOptions
from plainformer.finetune.tuning import TuningOptions

__all__ = [
    "TASKS",
    "AugmentOptions",
    "Batch",
    "ClassificationOptions",
    "DistillationOptions",
    "Embedder",
    "Evaluation",
    "FairOptions",
    "FinetuneConfig",
    "Metric",
    "Mistake",
    "MultiLabelOptions",
    "MultipleChoiceOptions",
    "Outcome",
    "Predictor",
    "PromptOptions",
    "QuestionAnsweringOptions",
    "RegressionOptions",
    "RelationOptions",
    "RobustOptions",
    "SentenceEmbeddingOptions",
    "Summary",
    "Table",
    "TaggingOptions",
    "Task",
    "TuningOptions",
    "UnlabelledOptions",
    "evaluate_folder",
    "few_of_each",
    "figures",
    "finetune",
    "in_batch",
    "read_examples",
    "soup",
]
