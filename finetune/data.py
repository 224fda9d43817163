"""Labelled texts become batches: encoded once, packed, a fixed number of texts in each."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import Tensor

from cellar import UserError
from corpora import catalogue, fetch, read_rows
from encoder import Sequences
from tokenizer import Encoding, Tokenizer

Text = str | tuple[str, str]
"""a text, or a text and its pair"""


@dataclass(frozen=True)
class Example:
    """A text (or a pair) with its label, and where it stands, for messages."""

    text: Text
    label: str
    place: str


def read_examples(source: str, split: str) -> list[Example]:
    """The labelled texts of a file, or of one split of a named set.

    A row has `text` and `label`, and may have `pair`. Raises `UserError` naming file and line.
    """
    path = Path(source)
    if source in catalogue and not path.exists():
        path = fetch(source) / f"{split}.jsonl"
    examples = []
    for row in read_rows(path):
        text, label = row.string("text"), row.string("label")
        pair = row.string("pair") if row.fields.get("pair") is not None else None
        place = f"{row.file}:{row.line}"
        if not text.strip():
            raise UserError(f"{place}: the text is empty")
        if not label.strip():
            raise UserError(f"{place}: the label is empty")
        examples.append(Example(text if pair is None else (text, pair), label, place))
    return examples


def label_names(examples: Sequence[Example]) -> list[str]:
    """The labels that occur, sorted; `UserError` when there is nothing to tell apart."""
    names = sorted({example.label for example in examples})
    if len(names) < 2:
        raise UserError(
            f"{examples[0].place.rpartition(':')[0]}: every example has the label {names[0]!r}: "
            "there is nothing to learn"
        )
    return names


def few_of_each(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    """`count` examples of each label, drawn by `seed`; fewer where there are no more."""
    order = np.random.default_rng(seed).permutation(len(examples))
    taken: Counter[str] = Counter()
    chosen = []
    for index in order:
        if taken[examples[index].label] < count:
            taken[examples[index].label] += 1
            chosen.append(examples[index])
    return chosen


@dataclass(frozen=True)
class TextBatch:
    """Packed texts and the number of each one's label."""

    input_ids: Int[Tensor, " tokens"]
    token_type_ids: Int[Tensor, " tokens"]
    sequences: Sequences
    labels: Int[Tensor, " texts"]

    @property
    def num_tokens(self) -> int:
        """Tokens in the batch."""
        return len(self.input_ids)

    def to(self, device: torch.device) -> "TextBatch":
        """The same batch on `device`."""
        return replace(
            self,
            input_ids=self.input_ids.to(device),
            token_type_ids=self.token_type_ids.to(device),
            sequences=self.sequences.to(device),
            labels=self.labels.to(device),
        )


@dataclass(frozen=True)
class Texts:
    """Encoded texts with the numbers of their labels (−1 where there is none)."""

    encodings: Sequence[Encoding]
    labels: Int64[np.ndarray, " texts"]

    @classmethod
    def of(
        cls,
        examples: Sequence[Example],
        labels: Sequence[str],
        tokenizer: Tokenizer,
        max_length: int,
    ) -> "Texts":
        """Encode labelled examples; `UserError` for a label that is not among `labels`."""
        numbers = {label: number for number, label in enumerate(labels)}
        for example in examples:
            if example.label not in numbers:
                raise UserError(
                    f"{example.place}: the label {example.label!r} is not among those the model "
                    f"learns: {', '.join(labels)}"
                )
        known = np.array([numbers[example.label] for example in examples], np.int64)
        return cls(encode([example.text for example in examples], tokenizer, max_length), known)

    @property
    def num_cut(self) -> int:
        """How many texts were cut to the longest length."""
        return sum(encoding.dropped > 0 for encoding in self.encodings)

    def __len__(self) -> int:
        return len(self.encodings)

    def batch(self, chosen: Sequence[int] | Int64[np.ndarray, " chosen"]) -> TextBatch:
        """The chosen texts, packed, shorter ones first."""
        order = sorted(chosen, key=lambda index: len(self.encodings[index]))
        encodings = [self.encodings[index] for index in order]
        return TextBatch(
            input_ids=torch.tensor([i for e in encodings for i in e.ids]),
            token_type_ids=torch.tensor([i for e in encodings for i in e.type_ids]),
            sequences=Sequences.of([len(e) for e in encodings]),
            labels=torch.from_numpy(self.labels[order]),
        )

    def by_length(self, batch_tokens: int = 4096) -> Iterator[tuple[list[int], TextBatch]]:
        """All texts once, those of like length together: which they are, and their batch."""
        order = sorted(range(len(self)), key=lambda index: len(self.encodings[index]))
        chosen: list[int] = []
        tokens = 0
        for index in order:
            if chosen and tokens + len(self.encodings[index]) > batch_tokens:
                yield chosen, self.batch(chosen)
                chosen, tokens = [], 0
            chosen.append(index)
            tokens += len(self.encodings[index])
        if chosen:
            yield chosen, self.batch(chosen)


def encode(texts: Sequence[Text], tokenizer: Tokenizer, max_length: int) -> list[Encoding]:
    """Each text, or pair, as ids of at most `max_length` tokens."""
    pairs = [(text, None) if isinstance(text, str) else text for text in texts]
    return [tokenizer.encode(text, pair, max_length=max_length) for text, pair in pairs]
