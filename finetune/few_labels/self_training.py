"""Self-training: learn from unlabelled texts under the model's own confident labels.

    round 0    train on the labelled examples
    round r    label the unlabelled texts with the model of round r − 1; keep those whose label has
               at least a probability c; train on both kinds, from the pretrained weights

A student learns under dropout from what its teacher said without, and may have at most as many
texts of each label, the most probable ones: Noisy Student (Xie et al. 2020, arXiv:1911.04252). It
is the classic self-training of Mukherjee & Awadallah (2020, arXiv:2006.15315), who go on to choose
texts by the variance of their label under dropout.

What a round learns from is saved before it begins, so that a resumed round has the same.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from plainformer.base import UserError
from plainformer.base.say import say
from plainformer.finetune.data.example import ExampleT
from plainformer.finetune.data.fingerprint import Fingerprints
from plainformer.finetune.data.unlabelled import unlabelled_texts
from plainformer.finetune.few_labels.options import UnlabelledOptions
from plainformer.finetune.few_labels.saved import saved_examples
from plainformer.finetune.few_labels.stages import Stages, Train
from plainformer.finetune.outcome import Outcome
from plainformer.finetune.task import AnyTask, PredictionT, Task

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig


def self_train(
    train: Train,
    task: AnyTask,
    examples: list[Any],
    held_out: list[Any],
    config: "FinetuneConfig",
    new: Fingerprints | None,
    quiet: bool,
) -> Outcome:
    """Train in rounds, a stage each, and keep the model of the best one in `config.out`.

    Raises:
        UserError: there is no new unlabelled text, or the task predicts no labels.
    """
    options = config.unlabelled
    if not task.predicts_labels:
        raise UserError(f"{config.task.name} predicts no label here that could be learned from")
    unlabelled = unlabelled_texts(config, examples, held_out, quiet)
    plain = replace(config, unlabelled=UnlabelledOptions())
    stages = Stages(train, held_out, config, new, quiet)
    stages.train("round-0", task, examples, plain)

    def pseudo_labelled(name: str) -> list[Any]:
        teacher = stages.model(name)
        predicted = [(example, said) for example, _, said in teacher.predict_examples(unlabelled)]
        highest = max(said.confidence for _, said in predicted)
        say([f"labelled by {name}: the highest probability is {highest:.3f}"], quiet)
        return confident(teacher.task, predicted, options.confidence, options.unlabelled_per_label)

    for number in range(1, options.rounds + 1):
        path = config.out / f"pseudo-labels-{number}.json"
        label = partial(pseudo_labelled, f"round-{number - 1}")
        learned = saved_examples(path, type(unlabelled[0]), label)
        if not learned:
            none = f"no label has a probability of {options.confidence:g}: no round follows"
            say([f"{none}; a lower --confidence keeps more texts"], quiet)
            break
        stages.train(f"round-{number}", task, [*examples, *learned], plain)
    return stages.keep(stages.best())


def confident(
    task: Task[ExampleT, Any, PredictionT],
    predicted: Iterable[tuple[ExampleT, PredictionT]],
    confidence: float,
    per_label: int = 0,
) -> list[ExampleT]:
    """Label the examples whose prediction has a `confidence`, most confident first.

    At most `per_label` of each label are kept; 0: all.
    """
    sure = [(said.confidence, example, said) for example, said in predicted]
    taken: Counter[str | None] = Counter()
    kept = []
    for value, example, said in sorted(sure, key=lambda entry: -entry[0]):
        labelled = task.pseudo_label(example, said)
        if value >= confidence and not (per_label and taken[labelled.category] == per_label):
            taken[labelled.category] += 1
            kept.append(labelled)
    return kept
