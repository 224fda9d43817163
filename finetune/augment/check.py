"""Keep the examples whose labels a fine-tuned model predicts (as Kumar et al. 2020,
arXiv:2003.02245, compare augmented texts by the label they keep).

An example is kept if the metric of its task counts the prediction as right: the same label, the
same set of labels, the same tags, the same option, an answer that SQuAD's scorer calls exact.
"""

from collections.abc import Iterable

from plainformer.finetune.data.example import ExampleT
from plainformer.finetune.prediction.predictor import Predictor


def agreeing(examples: Iterable[ExampleT], predictor: Predictor) -> list[ExampleT]:
    """Return the labelled examples whose labels are those that a fine-tuned model predicts."""
    kept = []
    for example, _, prediction in predictor.predict_examples(examples):
        metric = predictor.task.metric()
        predictor.task.add_to(metric, example, prediction)
        if not metric.mistakes:
            kept.append(example)
    return kept
