"""Pattern-exploiting training: several prompts label texts, from which a classifier learns.

    s(l | x) = Σₜ wₜ log pₜ(l | x) / Σₜ wₜ          t: the templates, each with a model of its own
    loss = T² Σₓ KL(softmax(s(· | x) / T) ‖ softmax(outputs(x) / T)),   T = 2

wₜ is the accuracy of template t on the training examples before it is trained (Schick & Schütze
2021, arXiv:2001.07676, §3.3); the loss is a sum over unlabelled texts x. The classifier starts from
the same pretrained model, under a new head, and needs neither templates nor their words: it is
saved as any classification is. Of the paper are left out three seeds of each template (`--seeds`
repeats the whole), and the share of masked language modelling in the loss of the templates.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from plainformer.base.say import say
from plainformer.finetune.data.fingerprint import Fingerprints
from plainformer.finetune.data.unlabelled import unlabelled_texts
from plainformer.finetune.few_labels.options import UnlabelledOptions
from plainformer.finetune.few_labels.saved import saved_examples
from plainformer.finetune.few_labels.soft_labels import (
    SoftClassification,
    SoftExample,
    ensemble,
    soft,
)
from plainformer.finetune.few_labels.stages import Stages, Train
from plainformer.finetune.outcome import Outcome
from plainformer.finetune.prediction.predictor import encode_all, measure
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.classification import ClassificationOptions
from plainformer.finetune.tasks.prompt import Prompt, PromptOptions
from plainformer.training import choose_device

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig


def pet(
    train: Train,
    task: AnyTask,
    examples: list[Any],
    held_out: list[Any],
    config: "FinetuneConfig",
    new: Fingerprints | None,
    quiet: bool,
) -> Outcome:
    """Train a model with each template, then a classifier on what they say of unlabelled texts.

    The classifier is kept in `config.out`. Raises `UserError` where there is no unlabelled text.
    """
    options = config.task
    assert isinstance(options, PromptOptions) and isinstance(task, Prompt)
    unlabelled = unlabelled_texts(config, examples, held_out, quiet)
    runs = {f"template-{n}": one_template(config, t) for n, t in enumerate(options.templates, 1)}
    prompts = {name: prompt(run, examples) for name, run in runs.items()}
    tokenizer = task.tokenizer(config.model)
    for one in prompts.values():  # a fault in any of them is found before the first is trained
        list(encode_all(one, tokenizer, [*examples, *unlabelled[:1]]))
    stages = Stages(train, held_out, config, new, quiet)
    for name, run in runs.items():
        stages.train(name, prompts[name], examples, run)

    def soft_labelled() -> list[SoftExample]:
        weights = [accuracy(prompts[name], runs[name], examples) for name in runs]
        shown = ", ".join(f"{weight:.3f}" for weight in weights)
        say([f"weights of the templates, their accuracies before training: {shown}"], quiet)
        models = map(stages.model, runs)
        said = [[found for _, _, found in m.predict_examples(unlabelled)] for m in models]
        scores = ensemble(task.labels, said, weights)
        return [soft(e, task.labels, row) for e, row in zip(unlabelled, scores, strict=True)]

    learned = saved_examples(config.out / "soft-labels.json", SoftExample, soft_labelled)
    classifier = SoftClassification(
        labels=task.labels, max_length=task.max_length, columns=task.columns
    )
    ordinary = replace(config, task=ClassificationOptions(), unlabelled=UnlabelledOptions())
    stages.train("classifier", classifier, learned, ordinary)
    return stages.keep("classifier")


def one_template(config: "FinetuneConfig", template: str) -> "FinetuneConfig":
    """Return the settings of the run with this template."""
    assert isinstance(config.task, PromptOptions)
    options = replace(config.task, template=template, templates=())
    return replace(config, task=options, unlabelled=UnlabelledOptions())


def prompt(config: "FinetuneConfig", examples: list[Any]) -> Prompt:
    """Return the task of a run with one template."""
    return replace(Prompt.fit(config, examples), columns=config.columns)


def accuracy(task: Prompt, config: "FinetuneConfig", examples: list[Any]) -> float:
    """Return the accuracy of a template on the training examples, with the pretrained model."""
    model = task.build(config).to(choose_device(config.training.device))
    pairs = encode_all(task, task.tokenizer(config.model), examples)
    return measure(task, model, pairs).scores()["accuracy"]
