"""Find the words of an encoded input: what an explanation is in terms of.

A word is the tokens of one `word_id` of one text, in all sequences that hold it: the windows of a
long text, the options that share a question. Chinese characters are words of their own where the
tokenizer has them so. Special tokens belong to no word, nor does the mask of a prompt.
"""

from dataclasses import dataclass
from typing import Any

from plainformer.finetune.data.batch import Item
from plainformer.finetune.embedder import as_declared
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.multiple_choice import MultipleChoice
from plainformer.finetune.tasks.prompt import Prompt
from plainformer.finetune.tasks.question_answering import QuestionAnswering
from plainformer.finetune.tasks.relation import Relation, known_signs, marked
from plainformer.finetune.tasks.sentence_embedding import SentenceEmbedding
from plainformer.finetune.tasks.tagging.task import Tagging
from plainformer.tokenizer import Tokenizer

Place = tuple[int, int]
"""The sequence of a token among those of its item, and its position there."""


@dataclass(frozen=True)
class WordOf:
    """A word of an input: `texts[text][start:end]`."""

    text: int
    start: int
    end: int
    string: str
    places: tuple[Place, ...]


def texts_of(task: AnyTask, example: Any, tokenizer: Tokenizer) -> tuple[str, ...]:
    """Return the texts of an example as the model reads them: a relation with its marks."""
    if isinstance(task, Relation):
        return (marked(example.text, example.head, example.tail, known_signs(tokenizer))[0],)
    if isinstance(task, Tagging):
        return (example.text,)
    if isinstance(task, QuestionAnswering):
        return example.question, example.context
    if isinstance(task, Prompt):
        return (task.fill(example.text, example.pair, tokenizer)[0],)
    texts: tuple[str, ...] = example.texts
    if isinstance(task, SentenceEmbedding):
        return tuple(as_declared(task.prompt + text, tokenizer, task.lower_case) for text in texts)
    return texts


def words_of(
    task: AnyTask, example: Any, item: Item, tokenizer: Tokenizer
) -> tuple[tuple[str, ...], tuple[WordOf, ...]]:
    """Return the texts of an input and its words, in the order of the texts."""
    texts = texts_of(task, example, tokenizer)
    special = tokenizer.special_ids - {tokenizer.unk_id}
    spans: dict[tuple[int, int], tuple[int, int]] = {}
    places: dict[tuple[int, int], list[Place]] = {}
    for sequence, encoding in enumerate(item.encodings):
        columns = zip(
            encoding.ids, encoding.sequence_ids, encoding.word_ids, encoding.offsets, strict=True
        )
        for position, (id, owner, word, (start, end)) in enumerate(columns):
            if owner is None or word is None or id in special:
                continue
            key = (text_number(task, owner, sequence), word)
            before = spans.get(key, (start, end))
            spans[key] = min(before[0], start), max(before[1], end)
            places.setdefault(key, []).append((sequence, position))
    if isinstance(task, Tagging):  # whose offsets are within each word
        spans = {key: example.offsets[key[1]] for key in spans}
    found = [
        WordOf(text, *spans[text, word], texts[text][slice(*spans[text, word])], tuple(where))
        for (text, word), where in sorted(places.items())
    ]
    return texts, tuple(found)


def text_number(task: AnyTask, owner: int, sequence: int) -> int:
    """Return the number of the text that a token belongs to."""
    if isinstance(task, MultipleChoice):
        return owner and 1 + sequence  # the text, then the options
    return sequence if isinstance(task, SentenceEmbedding) else owner
