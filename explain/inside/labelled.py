"""Read labelled texts, or sentences of tagged words, whatever the model was trained for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from plainformer.base import UserError, plural
from plainformer.corpora import has_rows
from plainformer.explain.inside.training import without_label
from plainformer.finetune.data.batch import Item
from plainformer.finetune.data.examples import read_examples, source_rows
from plainformer.finetune.embedder import as_declared
from plainformer.finetune.prediction.predictor import Predictor, encode_all
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.classification import Classification, OneLabel
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding
from plainformer.finetune.tasks.tagging.iob import OUTSIDE
from plainformer.finetune.tasks.tagging.sentences import Sentence
from plainformer.finetune.tasks.tagging.task import Tagging
from plainformer.finetune.tasks.texts import TextExample
from plainformer.tokenizer import Tokenizer

WORDS = {"words", "tags", "word", "tag"}
"""Fields that only sentences of tagged words have."""
FEWEST = 8
"""The fewest different texts that are shared out."""


@dataclass(frozen=True)
class Labelled:
    """Labelled examples, with the task that reads them and the tokenizer that it needs."""

    task: AnyTask
    tokenizer: Tokenizer
    examples: tuple[Any, ...]

    def items(self) -> list[Item]:
        """Encode the examples, without their labels: the model may have learned others."""
        bare = map(without_label, self.examples)
        return [item for _, item in encode_all(self.task, self.tokenizer, bare)]

    def labels_of(self, example: Any) -> tuple[str, ...]:
        """Return the tag of each word, or the label of the text."""
        found = example.tags if isinstance(example, Sentence) else (example.label,)
        return tuple(map(str, found or ()))

    def names_of(self, example: Any) -> tuple[str, ...]:
        """Return the words that are tagged, or the text that is labelled."""
        return example.words if isinstance(example, Sentence) else (example.preview,)


def read_labelled(
    predictor: Predictor,
    source: str,
    columns: Sequence[str] = (),
    limit: int = 5000,
    seed: int = 0,
) -> Labelled:
    """Draw whole examples with about `limit` labels from a file, or the test split of a set.

    Raises `UserError` for a file that cannot be read, by file and line, too few texts, and for
    one in which every label is the same.
    """
    own = predictor.task
    task = reading_task(own, source, columns)
    remembered = own.columns if type(task) is type(own) else ()
    naming = task.naming(columns, remembered)
    found = list(read_examples(type(task), source, "test", naming))
    if isinstance(own, SentenceEmbedding) and not isinstance(task, Tagging):
        found = [with_prompt(own, example, predictor.tokenizer) for example in found]
    adapted = isinstance(task, Tagging) and not isinstance(own, Tagging)
    tokenizer = predictor.tokenizer.for_words() if adapted else predictor.tokenizer
    every = Labelled(task, tokenizer, tuple(found))
    names = {*chain.from_iterable(map(every.labels_of, found))}
    if len(names) < 2:
        said = f"every label is {min(names)!r}" if names else "there is no label"
        raise UserError(f"{source}: {said}: two different ones are needed")
    some = drawn(every, limit, seed)
    if len({example.preview for example in some}) < FEWEST:
        raise UserError(
            f"{source}: {plural(len(some), 'text')} with --limit {limit}: at least {FEWEST} "
            "different ones are needed to learn from some and measure on others"
        )
    return replace(every, examples=tuple(some))


def drawn(every: Labelled, limit: int, seed: int) -> list[Any]:
    """Draw examples until they have `limit` labels, in their order in the file."""
    chosen, count = [], 0
    for index in np.random.default_rng(seed).permutation(len(every.examples)).tolist():
        if count >= limit:
            break
        chosen.append(index)
        count += len(every.labels_of(every.examples[index]))
    return [every.examples[index] for index in sorted(chosen)]


def reading_task(own: AnyTask, source: str, columns: Sequence[str]) -> AnyTask:
    """Return the task that reads the examples: the model's own, if it reads such labels."""
    if has_words(own, source, columns):
        if isinstance(own, Tagging):
            return own
        return Tagging(
            labels=(OUTSIDE,), decoding="each", max_length=own.max_length, overflow="windows"
        )
    if isinstance(own, OneLabel):
        return own
    return Classification(labels=("",), max_length=own.max_length, overflow="windows")


def has_words(own: AnyTask, source: str, columns: Sequence[str]) -> bool:
    """Tell whether a file has words with tags, by its form and its columns.

    A tagger takes a table without a column `text` for one of words: it may have no header.
    """
    given = {name.partition("=")[0] for name in columns}
    if given & WORDS:
        return True
    if given & {"text", "label"}:
        return False
    is_file = "://" in source or Path(source).expanduser().exists()
    if is_file and not has_rows(source):
        return True  # in CoNLL's columns
    first = next(iter(source_rows(Classification, source, "test")))
    if {"text", "label"} <= first.fields.keys():
        return False
    return bool(first.fields.keys() & WORDS) or (
        isinstance(own, Tagging) and "text" not in first.fields and not columns
    )


def with_prompt(task: SentenceEmbedding, example: TextExample, tokenizer: Tokenizer) -> TextExample:
    """Return the example with its texts as the folder of sentence vectors declares them."""
    return example.with_texts(
        [as_declared(task.prompt + text, tokenizer, task.lower_case) for text in example.texts]
    )
