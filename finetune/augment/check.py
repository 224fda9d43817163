"""Keep the examples whose labels a fine-tuned model predicts (LAMBADA's filter: Anaby-Tavor et al.
2019, arXiv:1911.03118, without a threshold).

An example is kept if the metric of its task counts the prediction as right: the same label, the
same set of labels, the same tags, the same option, an answer that SQuAD's scorer calls exact.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from plainformer.base import UserError
from plainformer.finetune.data.example import ExampleT
from plainformer.finetune.prediction.predictor import Predictor

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig


def agreeing(examples: Iterable[ExampleT], predictor: Predictor) -> list[ExampleT]:
    """Return the labelled examples whose labels are those that a fine-tuned model predicts."""
    kept = []
    for example, _, prediction in predictor.predict_examples(examples):
        metric = predictor.task.metric()
        predictor.task.add_to(metric, example, prediction)
        if not metric.mistakes:
            kept.append(example)
    return kept


def load_check(config: "FinetuneConfig") -> Predictor:
    """Load the model that checks the copies; raise `UserError` for one of another task."""
    folder = config.augmentation.augment_check
    assert folder is not None
    check = Predictor.load(folder, config.training.device)
    kinds = type(check.task), config.kind  # of which one may be a special case: prompt is
    if not issubclass(*kinds) and not issubclass(*kinds[::-1]):
        raise UserError(f"augment_check: {folder} is not a model for {config.task.name}")
    return check
