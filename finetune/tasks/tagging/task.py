"""Tagging: which tag has each word? Names in a text, or parts of speech.

    words    EU      rejects   German   call        JSON or Parquet: two lists; else CoNLL columns
    pieces   eu      reject ##s  german   call      each word is tokenised apart
    label    B-ORG   O       –  B-MISC   O          a word's first piece stands for it

    loss = −log softmax(logits)[tag], summed over words; with a CRF −log p(tags of the sentence)

Whether tags are entities or plain labels is decided by those of the training examples. Entities are
read in any scheme (`iob.py`), learned in IOB2, and found as the best tags that are legal there:
under the CRF, or with every word by itself. Plain labels: the most probable one.

A long sentence is cut, and its other words are outside; or it is read in overlapping windows, and
each word in the one where it has the most context, as BERT's `run_squad` has it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from plainformer.base import UserError, find_folder, read_json
from plainformer.corpora import Columns, File, Row
from plainformer.encoder import Sequences, TokenClassifier, ops
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.metrics import Metric
from plainformer.finetune.task import AS_NAMED, OVERLAP, Task
from plainformer.finetune.task_options import OverflowOptions, TaskOptions
from plainformer.finetune.tasks.tagging.crf import Chain, ChainTagger, Posterior
from plainformer.finetune.tasks.tagging.entities import EntityMetric, TagMetric
from plainformer.finetune.tasks.tagging.iob import OUTSIDE, are_entities, goes_on, iob2, spans
from plainformer.finetune.tasks.tagging.remarks import of_tags
from plainformer.finetune.tasks.tagging.sentences import (
    Sentence,
    Tags,
    check_scheme,
    entity_tags,
    plain_tags,
    read_sentence,
    sentence_rows,
)
from plainformer.tokenizer import Tokenizer, load_tokenizer
from plainformer.tokenizer.encoding import windows
from plainformer.training import Loss

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

Decoding = Literal["each", "legal", "crf"]
IGNORED = -100
"""the target of a token that stands for no word"""


@dataclass(frozen=True, kw_only=True)
class TaggedItem(Item):
    """A sentence, encoded: one sequence, or its windows."""

    sentence: Sentence
    places: tuple[tuple[int, int], ...]
    """for each word, up to where it was cut: the sequence that reads it, and its first token"""


@dataclass(frozen=True)
class WordScores:
    """What a model says of the words of a batch."""

    logits: Float[Tensor, "words labels"]
    places: Int[Tensor, " words"]
    """of the words among the packed tokens, sentence by sentence"""
    sentences: Sequences
    """their boundaries; a sentence without words has none"""
    chain: Chain


@dataclass(frozen=True, kw_only=True)
class TaggingOptions(OverflowOptions):
    """Tag the words of a sentence: entities, parts of speech and the like."""

    name: Literal["tagging"] = "tagging"

    crf: bool = False
    """Learn which tags follow each other, and weigh those of a whole sentence together (a linear
    chain CRF); for entities only."""


@dataclass(frozen=True, kw_only=True)
class Tagging(Task[Sentence, Tags]):
    """Which tags?"""

    Options: ClassVar[type[TaskOptions]] = TaggingOptions
    labels: tuple[str, ...]
    COLUMNS: ClassVar[tuple[str, ...]] = ("words", "tags", "word", "tag", "sentence", "text")
    decoding: Decoding
    """each word by itself, the best legal IOB2, or the best under the chain that was learned"""

    @classmethod
    def fit(cls, config: "FinetuneConfig", examples: Sequence[Sentence]) -> "Tagging":
        """The labels are O, B- and I- of the types that occur, or the plain labels, sorted."""
        options = config.task
        assert isinstance(options, TaggingOptions)
        known = {tag for example in examples for tag in example.tags or ()}
        file = examples[0].file
        labels: list[str]
        decoding: Decoding
        if are_entities(known):
            for example in examples:
                check_scheme(example)
            types = {span.type for example in examples for span in spans(example.tags or ())}
            labels = [OUTSIDE, *(f"{position}-{t}" for t in sorted(types) for position in "BI")]
            decoding = "crf" if options.crf else "legal"
        elif options.crf:
            raise UserError(f"{file}: the tags are no entities, for which crf is made")
        elif len(known) < 2:
            raise UserError(
                f"{file}: every word has the tag {min(known)!r}: there is nothing to learn"
            )
        else:
            labels, decoding = sorted(known), "each"
        return cls(
            labels=tuple(labels),
            decoding=decoding,
            max_length=config.max_length,
            overflow=options.overflow,
        )

    @classmethod
    def foreign(cls, labels: tuple[str, ...], max_length: int) -> "Tagging":
        """Nothing is known of the scheme: each word gets its tag by itself, and all are read."""
        return cls(labels=labels, decoding="each", max_length=max_length, overflow="windows")

    @classmethod
    def stratum(cls, example: Sentence) -> tuple[str, ...]:
        """Return the types of the entities."""
        return tuple(sorted({span.type for span in spans(example.tags or ())}))

    @classmethod
    def remarks(cls, config: "FinetuneConfig", examples: Sequence[Sentence]) -> list[str]:
        """Report how the tags are read."""
        return of_tags(example.tags for example in examples if example.tags is not None)

    @classmethod
    def rows(cls, path: File, columns: Columns = AS_NAMED) -> Iterator[Row]:
        """Yield a row for each sentence of a file in any layout."""
        return sentence_rows(path, columns)

    @classmethod
    def read(cls, row: Row, labelled: bool = True) -> Sentence:
        """A row has `words` and `tags`; unlabelled it may have `text` in place of both."""
        return read_sentence(row, labelled)

    def tokenizer(self, folder: Path) -> Tokenizer:
        """Load the tokenizer of the folder, adapted to single words unless it is already a
        tagger's.

        RoBERTa's tokens begin with the space before a word: words alone would look like parts.
        """
        tokenizer = load_tokenizer(folder)
        names = read_json(find_folder(folder) / "config.json").get("architectures") or ()
        is_tagger = any(str(name).endswith("ForTokenClassification") for name in names)
        return tokenizer if is_tagger else tokenizer.for_words()

    def build(self, config: "FinetuneConfig") -> PretrainedModel:
        """A new token classifier on the pretrained encoder, and maybe a chain on it."""
        model = TokenClassifier.from_pretrained(
            config.model, labels=self.labels, dropout=config.dropout
        )
        return ChainTagger(model) if self.decoding == "crf" else model

    def load(self, folder: Path) -> PretrainedModel:
        """The token classifier in `folder`, and its chain."""
        if self.decoding == "crf":
            return ChainTagger.load(folder)
        return TokenClassifier.from_pretrained(folder)

    def encode(self, example: Sentence, tokenizer: Tokenizer) -> TaggedItem:
        """One sequence, or windows; each word has its target in one place."""
        tokens = tokenizer.word_tokens(example.words)
        template = tokenizer.template
        room = template.room(self.max_length, is_pair=False) or 0
        if self.overflow == "truncate":
            cuts = [slice(0, min(room, len(tokens)))]
        else:
            cuts = list(windows(len(tokens), room, self.max_length // OVERLAP))
        dropped = len(tokens) - cuts[-1].stop
        encodings = tuple(template.encode(tokens[cut], None, dropped) for cut in cuts)
        before = [part for part, _ in template.single].index("a")  # special tokens
        places = tuple(
            (window, before + first - cuts[window].start)
            for window, first in most_context(tokens.word_ids, cuts)
        )
        targets: tuple[np.ndarray[Any, Any], ...] = ()
        if example.tags is not None:
            targets = tuple(np.full(len(encoding), IGNORED) for encoding in encodings)
            numbers = self.numbers(example)
            for (window, place), number in zip(places, numbers, strict=False):
                targets[window][place] = number
        return TaggedItem(encodings, targets, sentence=example, places=places)

    def numbers(self, example: Sentence) -> list[int]:
        """The label of each word, as its number.

        A type that is not known is an error by file and line. A plain label that training has not
        seen can be learned from no more than found, and there are such in any large tag set: it is
        ignored here, and a mistake to the metric.
        """
        tags = example.tags or ()
        if not self.marks_entities:
            return [self._numbers.get(tag, IGNORED) for tag in tags]
        check_scheme(example)
        numbers = []
        for place, tag in enumerate(iob2(spans(tags), len(tags))):
            kind = tag.partition("-")[2]
            if kind not in self._types:
                raise UserError(
                    f"{example.place_of(place)}: the tag {tags[place]!r} of "
                    f"{example.words[place]!r} is not among those the model learns: "
                    f"{', '.join(self.labels)}"
                )
            numbers.append(self._numbers.get(tag, self._types[kind]))
        return numbers

    def outputs(self, model: PretrainedModel, batch: Batch) -> WordScores:
        """The logits of the words' first tokens."""
        chain = model.crf.chain if isinstance(model, ChainTagger) else self._chain
        return self.of_words(super().outputs(model, batch), batch, chain)

    def of_words(
        self, logits: Float[Tensor, "tokens labels"], batch: Batch, chain: Chain | None = None
    ) -> WordScores:
        """What the words get of the logits of all tokens."""
        places, lengths = word_places(batch)
        at = torch.tensor(places, dtype=torch.int64, device=logits.device)
        sentences = Sequences.of([length for length in lengths if length], logits.device)
        return WordScores(logits[at].float(), at, sentences, chain or self._chain)

    def loss(self, outputs: WordScores, batch: Batch) -> Loss:
        """Cross-entropy and "accuracy" of the words' tags, or −log p of a sentence's, by word."""
        labels = batch.targets[outputs.places]
        count = sum(int((target != IGNORED).sum()) for i in batch.items for target in i.targets)
        if self.decoding == "crf":
            chain = outputs.chain.like(outputs.logits)
            likelihood = chain.log_likelihood(outputs.logits, labels, outputs.sentences)
            return Loss(-likelihood.sum(), count)
        correct = (outputs.logits.detach().argmax(-1) == labels).sum()
        return Loss(ops.cross_entropy(outputs.logits, labels), count, {"accuracy": correct})

    def predict(self, outputs: WordScores, batch: Batch) -> list[Tags]:
        """The best tags of each sentence, and how probable they are."""
        logits = outputs.logits.detach().cpu().double()
        items = tagged(batch)
        starts = np.cumsum([0, *(len(item.places) for item in items)]).tolist()
        if not self.marks_entities:
            probabilities, numbers = logits.softmax(-1).max(-1)
            scores, tags = probabilities.tolist(), [self.labels[n] for n in numbers.tolist()]
            return [
                plain_tags(item.sentence, tags[begin:end], scores[begin:end])
                for item, (begin, end) in zip(items, pairwise(starts), strict=True)
            ]
        chain = outputs.chain.like(logits)
        posterior = Posterior.of(chain, logits, outputs.sentences.to("cpu"))
        scores, tags = posterior.of_tags(), [self.labels[n] for n in posterior.tags.tolist()]
        found = [spans(tags[begin:end]) for begin, end in pairwise(starts)]
        bounds = [
            (start + span.begin, start + span.end)
            for start, some in zip(starts, found, strict=False)
            for span in some
        ]
        sure = iter(posterior.of_spans(bounds, self._goes_on))
        return [
            entity_tags(item.sentence, scores[begin:end], [(span, next(sure)) for span in some])
            for item, (begin, end), some in zip(items, pairwise(starts), found, strict=True)
        ]

    def metric(self) -> Metric[Sentence, Tags]:
        """Entities as conlleval counts them, or accuracy and F1 of plain labels."""
        return EntityMetric() if self.marks_entities else TagMetric()

    @cached_property
    def marks_entities(self) -> bool:
        """Whether the labels are those of entities."""
        return are_entities(self.labels)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {label: number for number, label in enumerate(self.labels)}

    @cached_property
    def _types(self) -> dict[str, int]:
        """A label of each type: for tags of which a model from elsewhere has another form."""
        kinds = {label.partition("-")[2]: n for n, label in enumerate(self.labels)}
        return {"": IGNORED} | kinds

    @cached_property
    def _chain(self) -> Chain:
        """The chain of a model that has learned none."""
        legal = self.decoding == "legal"
        return Chain.legal(self.labels) if legal else Chain.free(len(self.labels))

    @cached_property
    def _goes_on(self) -> Bool[Tensor, "labels labels"]:
        """[i, j]: whether label j goes on with the entity of label i before it."""
        return torch.tensor(
            [[goes_on(tag, before) for tag in self.labels] for before in self.labels]
        )


def tagged(batch: Batch) -> list[TaggedItem]:
    """The items of a batch, which are sentences."""
    return [item for item in batch.items if isinstance(item, TaggedItem)]


def word_places(batch: Batch) -> tuple[list[int], list[int]]:
    """Where the words' first tokens lie among the packed ones, and how many each item has."""
    starts = np.cumsum([0, *batch.sequences.lengths])[batch.places.cpu().numpy()].tolist()
    places, lengths, first = [], [], 0
    for item, count in zip(tagged(batch), batch.counts, strict=True):
        places += [starts[first + sequence] + place for sequence, place in item.places]
        lengths.append(len(item.places))
        first += count
    return places, lengths


def most_context(word_ids: Sequence[int], cuts: Sequence[slice]) -> list[tuple[int, int]]:
    """For each word the window that reads it, and its first token, counted over the whole text.

    Of several windows it is the one in which the nearer end is farthest, the first of equals. A
    word that begins in no window (it was cut) is left out, and it is one of the last.
    """
    best: dict[int, tuple[int, int, int]] = {}
    for window, cut in enumerate(cuts):
        for first in range(cut.start, cut.stop):
            word = word_ids[first]
            if first == 0 or word_ids[first - 1] != word:
                context = min(first - cut.start, cut.stop - 1 - first)
                if word not in best or context > best[word][0]:
                    best[word] = context, window, first
    return [(window, first) for _, window, first in best.values()]
