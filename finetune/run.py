"""The second stage from end to end: a pretrained folder and labelled texts → a classifier."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from cellar import UserError, write_json
from encoder import SequenceClassifier
from encoder.init import initialise
from finetune.config import FinetuneConfig
from finetune.data import Texts, few_of_each, label_names, read_examples
from finetune.metrics import Report
from finetune.objective import classification
from finetune.predict import Classifier, check_vocabulary, probabilities
from tokenizer import load_tokenizer
from training import Result, by_items, evaluate, full_disk, save_options, saved_options, train

MAY_DIFFER = {"out", "resume", "training"}
"""options of which a resumed run may have others"""
EVALUATIONS = 10
"""in a whole run, at most, unless the settings say how often"""


@dataclass(frozen=True)
class Outcome:
    """What a fine-tuning run came to."""

    result: Result
    report: Report
    """on the validation examples, with the best weights"""
    num_cut: int
    """training texts that were cut to `max_length`"""


def finetune(config: FinetuneConfig, quiet: bool = False) -> Outcome:
    """Run `config`, and leave in `config.out` one folder with model, tokenizer and labels.

    Beside them: `options.json`, `metrics.json` (on the validation examples), `confusion.png`,
    `log.jsonl`, `curve.png` and `checkpoints/`. The weights are those of the best validation
    accuracy. Raises `UserError` for examples that cannot be read or learned, and for a model that
    cannot be loaded.
    """
    if config.out.resolve() == config.model.resolve():
        raise UserError(f"{config.out} is the pretrained model: choose another folder for the run")
    saved = saved_options(config, config.out, resume=config.resume, may_differ=MAY_DIFFER)
    seed = config.training.seed
    tokenizer = load_tokenizer(config.model)
    examples = read_examples(config.train, "train")
    labels = label_names(examples)
    if config.per_label:
        examples = few_of_each(examples, config.per_label, seed)
    texts = Texts.of(examples, labels, tokenizer, config.max_length)
    held_out = Texts.of(read_examples(config.valid, "valid"), labels, tokenizer, config.max_length)
    model = build(config, labels)
    check_vocabulary(model, tokenizer)

    order = by_items(len(texts), config.batch_size, seed=seed)
    steps = max(1, round(config.epochs * order.steps(epochs=1)))
    settings = replace(
        config.training,
        steps=steps,
        eval_every=config.training.eval_every or max(order.steps(epochs=1), steps // EVALUATIONS),
    )
    if saved is None:
        save_options(replace(config, training=settings, resume=False), config.out)
    result = train(
        model,
        classification,
        lambda step: [texts.batch(items) for items in order(step)],
        settings,
        config.out,
        evaluate=lambda model: evaluate(
            model, classification, (batch for _, batch in held_out.by_length())
        ),
        monitor="accuracy",
        higher_is_better=True,
        resume=config.resume,
        label="fine-tuning",
        quiet=quiet,
    )
    tokenizer.max_length = config.max_length
    report = measure(model, held_out)
    with full_disk(config.out):
        model.save_pretrained(config.out)
        tokenizer.save(config.out)
        write_json(config.out / "metrics.json", {"valid": report.to_json()})
        report.draw(config.out / "confusion.png")
    return Outcome(result, report, texts.num_cut)


def build(config: FinetuneConfig, labels: list[str]) -> SequenceClassifier:
    """The pretrained model under a new classifier, or the same shape with fresh weights."""
    torch.manual_seed(config.training.seed)
    model = SequenceClassifier.from_pretrained(
        config.model, labels=labels, pooling=config.pooling, dropout=config.dropout
    )
    if config.max_length > model.config.max_position_embeddings:
        raise UserError(
            f"max_length {config.max_length} is more than the model's "
            f"{model.config.max_position_embeddings} positions"
        )
    if config.from_scratch:
        initialise(model, model.config)
    return model


def measure(model: SequenceClassifier, texts: Texts) -> Report:
    """How the model does on labelled texts."""
    predicted = probabilities(model, texts).argmax(-1)
    return Report.of(model.labels, texts.labels, predicted.astype(np.int64))


def evaluate_folder(folder: Path, source: str) -> Report:
    """How the classifier in `folder` does on the examples of a file, or a set's test split."""
    classifier = Classifier.load(folder)
    examples = read_examples(source, "test")
    texts = Texts.of(examples, classifier.model.labels, classifier.tokenizer, classifier.max_length)
    return measure(classifier.model, texts)
