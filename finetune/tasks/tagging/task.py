"""Tag each word of a sentence with an entity or a plain label such as a part of speech.

    words    EU      rejects   German   call        JSON or Parquet: two lists; else CoNLL columns
    tokens   eu      reject ##s  german   call      each word is tokenised by itself
    target   B-ORG   O       –  B-MISC   O          the tag at the first token of a word

    loss = −log softmax(logits)[tag], summed over words; with a CRF −log p(tags of the sentence)

The tags of the training examples determine whether tags mark entities or are plain labels. Entities
are read in any scheme (`iob.py`), learned in IOB2, and predicted as the best legal sequence, with
the scores of the CRF if there is one. The most probable plain label of each word is predicted.

A long sentence is truncated, and the words cut off are predicted as O; or it is split into
overlapping windows, and each word is tagged in the window with its largest context, as in BERT's
`run_squad`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
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
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.losses.divergence import kl_divergence
from plainformer.finetune.losses.label_smoothing import IGNORED, smoothed
from plainformer.finetune.losses.mixture import mixture
from plainformer.finetune.task import AS_NAMED, Task, check_labels
from plainformer.finetune.task_options import OverflowOptions, SmoothingOptions, TaskOptions
from plainformer.finetune.tasks.tagging.crf import Chain, ChainTagger, Posterior
from plainformer.finetune.tasks.tagging.entities import EntityMetric, TagMetric
from plainformer.finetune.tasks.tagging.iob import OUTSIDE, are_entities, continues, iob2, spans
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
from plainformer.finetune.tasks.tagging.words import TaggedItem, max_context, words_of
from plainformer.finetune.tasks.texts import OVERLAP
from plainformer.finetune.tuning.adapter import add_tensors
from plainformer.tokenizer import Tokenizer, load_tokenizer
from plainformer.tokenizer.encoding import windows
from plainformer.training import Loss

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

Decoding = Literal["each", "legal", "crf"]


@dataclass(frozen=True)
class WordScores:
    """The logits of the tags of each word, and the chain of a batch of sentences."""

    logits: Float[Tensor, "words labels"]
    places: Int[Tensor, " words"]
    """Positions of the words' first tokens in the packed batch."""
    sentences: Sequences
    """The boundaries of the sentences, without those that have no words."""
    chain: Chain
    """The scores of neighbouring tags."""


@dataclass(frozen=True, kw_only=True)
class TaggingOptions(OverflowOptions, SmoothingOptions):
    """Tag the words of a sentence: entities, parts of speech and the like."""

    name: Literal["tagging"] = "tagging"

    crf: bool = False
    """Add a linear-chain CRF: learn scores of neighbouring tags, and predict the best sequence of
    tags for the whole sentence. For entities only."""

    def check(self, config: "FinetuneConfig") -> None:
        """Raise `UserError` for smoothed labels under a CRF."""
        if self.crf and self.label_smoothing:
            raise UserError("crf has the loss of a whole sentence, without label_smoothing")


@dataclass(frozen=True, kw_only=True)
class Tagging(Task[Sentence, TaggedItem, Tags]):
    """Tag the words of a sentence with entities or plain labels."""

    Options: ClassVar[type[TaskOptions]] = TaggingOptions
    COLUMNS: ClassVar[tuple[str, ...]] = ("words", "tags", "word", "tag", "sentence", "text")

    labels: tuple[str, ...]
    decoding: Decoding
    """The choice of tags: each word's best, the best legal IOB2, or the best under the CRF."""
    label_smoothing: float = field(default=0.0, compare=False)
    """Share of the target that all labels divide among them."""

    def __post_init__(self) -> None:
        """Check the labels."""
        super().__post_init__()
        check_labels(self.labels)

    @classmethod
    def fit(cls, config: "FinetuneConfig", examples: Sequence[Sentence]) -> "Tagging":
        """Define the task by the examples' labels: O, B- and I- of each type, or plain labels."""
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
            label_smoothing=options.label_smoothing,
            max_length=config.max_length,
            overflow=options.overflow,
        )

    @classmethod
    def foreign(cls, labels: tuple[str, ...], max_length: int) -> "Tagging":
        """Define the task of a foreign model's labels, whose tags are chosen word by word."""
        return cls(labels=labels, decoding="each", max_length=max_length, overflow="windows")

    @classmethod
    def remarks(cls, config: "FinetuneConfig", examples: Sequence[Sentence]) -> list[str]:
        """Report the tagging scheme, and likely faults of the tags."""
        return of_tags(example.tags for example in examples if example.tags is not None)

    @classmethod
    def rows(cls, path: File, columns: Columns = AS_NAMED) -> Iterator[Row]:
        """Yield a row for each sentence of a file in any layout."""
        return sentence_rows(path, columns)

    @classmethod
    def read(cls, row: Row, labelled: bool = True) -> Sentence:
        """Read a row of `words` and `tags`; an unlabelled one may have `text` in their place."""
        return read_sentence(row, labelled)

    def tokenizer(self, folder: Path) -> Tokenizer:
        """Load the tokenizer of the folder; adapt one that is not of a tagger to single words.

        RoBERTa's tokens begin with the space before a word: a word without it would be tokenised as
        the inside of a word.
        """
        tokenizer = load_tokenizer(folder)
        names = read_json(find_folder(folder) / "config.json").get("architectures") or ()
        is_tagger = any(str(name).endswith("ForTokenClassification") for name in names)
        return tokenizer if is_tagger else tokenizer.for_words()

    def build(self, config: "FinetuneConfig") -> PretrainedModel:
        """Build a token classifier on the pretrained encoder, with a CRF if the task has one."""
        model = TokenClassifier.from_pretrained(
            config.model, labels=self.labels, dropout=config.dropout
        )
        return ChainTagger(model) if self.decoding == "crf" else model

    def load(self, folder: Path) -> PretrainedModel:
        """Load the token classifier in `folder`, with its CRF if the task has one."""
        if self.decoding == "crf":
            return ChainTagger.load(folder)
        return TokenClassifier.from_pretrained(folder, add=add_tensors)

    def encode(self, example: Sentence, tokenizer: Tokenizer) -> TaggedItem:
        """Encode a sentence as one sequence or as windows; each word has a target in only one."""
        tokens = tokenizer.word_tokens(example.words)
        template = tokenizer.template
        room = template.room(self.max_length, is_pair=False) or 0
        if self.overflow == "truncate":
            cuts = [slice(0, min(room, len(tokens)))]
        else:
            cuts = list(windows(len(tokens), room, self.max_length // OVERLAP))
        dropped = len(tokens) - cuts[-1].stop
        encodings = tuple(template.encode(tokens[cut], None, dropped) for cut in cuts)
        before = [part for part, _ in template.single].index("a")  # special tokens at the start
        places = tuple(
            (window, before + first - cuts[window].start)
            for window, first in max_context(tokens.word_ids, cuts)
        )
        targets: tuple[np.ndarray[Any, Any], ...] = ()
        if example.tags is not None:
            targets = tuple(np.full(len(encoding), IGNORED) for encoding in encodings)
            numbers = self.numbers(example)
            for (window, place), number in zip(places, numbers, strict=False):
                targets[window][place] = number
        return TaggedItem(encodings, targets, sentence=example, places=places)

    def numbers(self, example: Sentence) -> list[int]:
        """Return the index of each word's label.

        Raises `UserError` with file and line for an unknown type. A plain label that occurs in
        validation examples only, as in large tag sets, is `IGNORED` in the loss and counts as a
        mistake in the metric.
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
                    f"{example.source_of(place)}: the tag {tags[place]!r} of "
                    f"{example.words[place]!r} is not among those the model learns: "
                    f"{', '.join(self.labels)}"
                )
            numbers.append(self._numbers.get(tag, self._types[kind]))
        return numbers

    def outputs(self, model: PretrainedModel, batch: Batch[TaggedItem]) -> WordScores:
        """Compute the logits of the words' first tokens."""
        chain = model.crf.chain if isinstance(model, ChainTagger) else self._chain
        return self.calibrated(self.of_words(super().outputs(model, batch), batch, chain))

    def scaled(self, outputs: WordScores, temperature: float) -> WordScores:
        """Divide the logits and the scores of a chain by a temperature: the best tags stay."""
        chain = outputs.chain.scaled(1 / temperature)
        return replace(outputs, logits=outputs.logits / temperature, chain=chain)

    def of_words(
        self,
        logits: Float[Tensor, "tokens labels"],
        batch: Batch[TaggedItem],
        chain: Chain | None = None,
    ) -> WordScores:
        """Select the logits of the words' first tokens."""
        at, sentences = words_of(batch)
        return WordScores(logits[at].float(), at, sentences, chain or self._chain)

    def loss(self, outputs: WordScores, batch: Batch[TaggedItem]) -> Loss:
        """Compute the cross-entropy and accuracy of the tags; with a CRF −log p of the sentences.

        The count of the loss is the number of words in both cases.
        """
        labels = batch.targets[outputs.places]  # some are IGNORED: labels that are not known
        count = sum(int((target != IGNORED).sum()) for i in batch.items for target in i.targets)
        if self.decoding == "crf":
            chain = outputs.chain.like(outputs.logits)
            likelihood = chain.log_likelihood(outputs.logits, labels, outputs.sentences)
            return Loss(-likelihood.sum(), count)
        correct = (outputs.logits.detach().argmax(-1) == labels).sum()
        total = ops.cross_entropy(outputs.logits, labels)
        total = smoothed(total, outputs.logits, labels, self.label_smoothing)
        return Loss(total, count, {"accuracy": correct})

    def divergence(
        self,
        outputs: WordScores,
        others: WordScores,
        batch: Batch[TaggedItem],
        temperature: float = 1.0,
    ) -> Loss:
        """Compute KL(others ‖ outputs) of each word's logits, without the transitions of a CRF."""
        total = kl_divergence(outputs.logits, others.logits, temperature)
        return Loss(total, len(outputs.logits))

    def average(self, outputs: Sequence[WordScores], temperature: float = 1.0) -> WordScores:
        """Compute the logits of the mean probabilities of each word; with a CRF the mean scores.

        The mean scores are those of the geometric mean of the probabilities of whole sentences.
        """
        logits = [scores.logits for scores in outputs]
        if self.decoding != "crf":
            return replace(outputs[0], logits=mixture(logits, temperature))
        mean = torch.stack(logits).mean(0)
        return replace(outputs[0], logits=mean, chain=Chain.mean([o.chain for o in outputs]))

    def select(
        self, outputs: WordScores, batch: Batch[TaggedItem], places: Sequence[int]
    ) -> tuple[WordScores, Batch[TaggedItem]]:
        """Select the logits of the words of some of the sentences."""
        counts = torch.tensor(self.item_counts(batch))
        owners = torch.repeat_interleave(counts).to(outputs.logits.device)
        chosen = torch.isin(owners, owners.new_tensor(places))
        some = batch.select(places)
        at, sentences = words_of(some)
        return WordScores(outputs.logits[chosen], at, sentences, outputs.chain), some

    def item_counts(self, batch: Batch[TaggedItem]) -> Sequence[int]:
        """Return the number of words of each sentence, without those that were cut."""
        return [len(item.places) for item in batch.items]

    def predict(self, outputs: WordScores, batch: Batch[TaggedItem]) -> list[Tags]:
        """Predict the best tags of each sentence, and their probabilities."""
        logits, items = outputs.logits.detach().cpu().double(), batch.items
        starts = np.cumsum([0, *(len(item.places) for item in items)]).tolist()
        if not self.marks_entities:
            probabilities, numbers = logits.softmax(-1).max(-1)
            scores, tags = probabilities.tolist(), [self.labels[n] for n in numbers.tolist()]
            return [
                self.decide(plain_tags(item.sentence, tags[begin:end], scores[begin:end]))
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
        sure = iter(posterior.of_spans(bounds, self._continues))
        return [
            self.decide(
                entity_tags(item.sentence, scores[begin:end], [(span, next(sure)) for span in some])
            )
            for item, (begin, end), some in zip(items, pairwise(starts), found, strict=True)
        ]

    def pseudo_label(self, example: Sentence, prediction: Tags) -> Sentence:
        """Return the sentence with the predicted tags."""
        return replace(example, tags=prediction.tags)

    def metric(self) -> EntityMetric | TagMetric:
        """Create the metric: whole entities as in conlleval, or plain labels word by word."""
        return EntityMetric() if self.marks_entities else TagMetric()

    def add_to(self, metric: EntityMetric | TagMetric, example: Sentence, prediction: Tags) -> None:
        """Add a sentence and its predicted tags to the metric."""
        metric.add(example, prediction.tags, prediction.scores)

    @cached_property
    def marks_entities(self) -> bool:
        """Return whether the labels mark entities."""
        return are_entities(self.labels)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {label: number for number, label in enumerate(self.labels)}

    @cached_property
    def _types(self) -> dict[str, int]:
        """Map each type to the index of a label, for a foreign model without B- or I- of a type."""
        kinds = {label.partition("-")[2]: n for n, label in enumerate(self.labels)}
        return {"": IGNORED} | kinds

    @cached_property
    def _chain(self) -> Chain:
        """Return the chain for a model without a CRF."""
        legal = self.decoding == "legal"
        return Chain.legal(self.labels) if legal else Chain.free(len(self.labels))

    @cached_property
    def _continues(self) -> Bool[Tensor, "labels labels"]:
        """Return, at [i, j], whether label j continues the entity of label i before it."""
        return torch.tensor(
            [[continues(tag, before) for tag in self.labels] for before in self.labels]
        )
