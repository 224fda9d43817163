"""Distil an encoder into static token vectors, and keep them if they score well enough.

encoder → vector of each token → components → weights → table, as a folder of sentence-transformers
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from plainformer.base import UserError, find_folder, replaced_folder
from plainformer.deploy.card import Data, Facts, Result, write_card
from plainformer.deploy.card.front_matter import metric_name
from plainformer.deploy.measured import Measured, measure_both, refuse_loss
from plainformer.deploy.opened import Opened
from plainformer.deploy.shrink import trim_vocabulary
from plainformer.deploy.static.vectors import distil
from plainformer.encoder import SentenceEncoder
from plainformer.encoder.static import LONGEST, StaticEncoder
from plainformer.encoder.weights import is_adapter
from plainformer.encoder.weights.sentence_layout import SentenceLayout
from plainformer.finetune.data.examples import read_examples
from plainformer.finetune.embedder import Embedder
from plainformer.finetune.prediction.predictor import Predictor
from plainformer.finetune.task_file import save_task, task_of
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding

TOLERANCE = 0.2


def distil_folder(
    folder: str | Path,
    out: Path,
    size: int = 256,
    data: str | None = None,
    columns: Sequence[str] = (),
    vocabulary: Sequence[str] = (),
    tolerance: float = TOLERANCE,
    report: Callable[[Sequence[Measured]], None] = lambda results: None,
) -> list[Measured]:
    """Write the static vectors of the encoder in `folder` to `out`; return both measures on `data`.

    `vocabulary` names files whose tokens alone are kept. `report` is called with the measures
    before the result is judged. Raises `UserError` for an encoder that has no such vectors, and
    where the first score falls by more than the tolerance: then nothing is written.
    """
    given, folder = folder, find_folder(folder)
    task = open_task(folder, data, columns)
    encoder = Embedder.load(folder, precision="fp32")
    refuse_other_encoders(folder, encoder)
    opened = Opened(task, encoder.model, encoder.tokenizer)
    if vocabulary:  # cuts the model, and the whole one is measured
        whole = Embedder.load(folder, precision="fp32")
        opened = trim_vocabulary(replace(opened, model=whole.model), task, vocabulary, columns)
    assert isinstance(opened.model, SentenceEncoder)
    table = distil(opened.model, opened.tokenizer, size)
    static = SentenceEncoder(StaticEncoder(table), SentenceLayout(is_static=True))
    results: list[Measured] = []
    with replaced_folder(out, "static") as unfinished:
        static.save_pretrained(unfinished)
        opened.tokenizer.with_max_length(None).save(unfinished)
        after = replace(task, max_length=LONGEST, prompt="")
        if task.scale is not None:
            save_task(after, unfinished)
        if data is not None:
            predictors = [
                Predictor(its, found.model, found.tokenizer)
                for its, found in ((task, encoder), (after, Embedder.load(unfinished)))
            ]
            results = measure_both(predictors, (folder, unfinished), data, columns)
            report(results)
            refuse_loss(results, tolerance, "")
        write_card(unfinished, facts_of(unfinished, given, size, data, results), before=out)
    return results


def facts_of(
    folder: Path, model: str | Path, size: int, data: str | None, results: Sequence[Measured]
) -> Facts:
    """Collect what the card of the static vectors says."""
    words, found = ["static", "RUN", "--size", str(size)], list[Result]()
    note = "`plainformer static` distilled it: a vector of each token, in place of the encoder"
    if data is not None:
        before, after = results
        source = Data.of(data)
        part = "test part" if source.known else ""
        found = [Result(source, part, after.examples, after.scores)]
        words += ["--data", source.name]
        name, score = next(iter(before.scores.items()))
        note += (
            f". From {before.speed:,.0f} to {after.speed:,.0f} examples a second on the same "
            f"machine, and in {metric_name(name)} from {score:.4f} to {after.scores[name]:.4f} on "
            "the same examples"
        )
    made = "as static token vectors"
    return Facts.of_made(folder, model, made, [*words, "--out", "DIR"], found, f"{note}.")


def open_task(folder: Path, data: str | None, columns: Sequence[str]) -> SentenceEmbedding:
    """Return the task of an encoder of sentences; one without a scale gets that of the scores.

    Neither of the correlations depends on the scale.
    """
    if is_adapter(folder):
        raise UserError(
            f"{folder} is an adapter: merge it first: plainformer convert {folder} --out …"
        )
    found = task_of(folder)
    task = found if isinstance(found, SentenceEmbedding) else SentenceEmbedding.of_folder(folder)
    if data is None or task.scale is not None:
        return task
    named: Any = task.naming(columns, task.columns)
    given = [example.score for example in read_examples(type(task), data, "test", named)]
    scores = [score for score in given if score is not None]
    if not scores:
        return task
    if min(scores) == max(scores):
        raise UserError(
            f"{data}: every pair has the score {scores[0]}: there is nothing to compare"
        )
    return replace(task, scale=(min(scores), max(scores)))


def refuse_other_encoders(folder: Path, encoder: Embedder) -> None:
    """Raise `UserError` for an encoder that no table of vectors can stand in for."""
    layout = encoder.model.layout
    if layout.is_static:
        raise UserError(f"{folder} holds static vectors already")
    if layout.lower_case:
        raise UserError(
            f"{folder}: do_lower_case is true in sentence_bert_config.json, which static vectors "
            "have no field for"
        )
