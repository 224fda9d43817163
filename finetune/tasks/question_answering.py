"""Answer a question by a span of a passage.

    loss = −½ (log softmax(start)[first] + log softmax(end)[last])      over the tokens of a window
    score(i, j) = startᵢ + endⱼ,  i ≤ j < i + 30        prediction = the span of the highest score

[CLS] question [SEP] passage [SEP]: a passage that is too long is read in windows, each with the
whole question. In a window that lacks the answer, or a part of it, the target is [CLS], which so
learns to score "no answer" (start₀ + end₀). The margin is its lowest score over the windows, minus
the score of the best span: above a threshold, tuned in validation, no answer is predicted.
(Devlin et al. 2018, arXiv:1810.04805, §4.2 and §4.3)
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from plainformer.base import UserError
from plainformer.corpora import Answer, Columns, File, Row, read_answers, read_squad
from plainformer.encoder import QuestionAnswerer, ops
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.data.example import Example, Prediction, known
from plainformer.finetune.data.words import Words, join_text, move_spans, of_part, split_text
from plainformer.finetune.losses.divergence import kl_divergence
from plainformer.finetune.metrics import AnswerMetric
from plainformer.finetune.metrics.spans import word_f1
from plainformer.finetune.task import AS_NAMED, Task
from plainformer.finetune.task_options import TaskOptions
from plainformer.finetune.tasks.texts import OVERLAP
from plainformer.finetune.tuning.adapter import add_tensors
from plainformer.tokenizer import Tokenizer
from plainformer.tokenizer.encoding import windows
from plainformer.training import Loss

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

QUESTION, PASSAGE = range(2)
"""The texts of an example."""
LONGEST_ANSWER = 30
"""Tokens of the longest answer."""
NUM_ANSWERS = 3
"""Answers in a prediction, the best first."""
NUM_SPANS = 20
"""Best spans to choose the answers from: several may have the same characters."""

Logits = tuple[Float[Tensor, " tokens"], Float[Tensor, " tokens"]]


@dataclass(frozen=True, kw_only=True)
class QuestionExample(Example):
    """A question on a passage, and its answers; there may be none."""

    question: str
    context: str
    answers: tuple[Answer, ...] | None

    @property
    def preview(self) -> str:
        """Return question and passage."""
        return f"{self.question} ⟷ {self.context}"

    @property
    def stratum(self) -> bool:
        """Tell whether the question has an answer."""
        return bool(self.answers)

    @property
    def split_key(self) -> str:
        """Return the passage, shared by all its questions."""
        return self.context

    def to_words(self) -> Words:
        """Split question and passage into words, with the answers fixed."""
        passage = split_text(self.context, PASSAGE, self._spans)
        return (*split_text(self.question), *passage)

    def with_words(self, words: Words) -> "QuestionExample":
        """Return the example with other words in the question, and around the same answers."""
        question, _ = join_text(of_part(words, QUESTION))
        context, spans = move_spans(self.context, self._spans, of_part(words, PASSAGE))
        answers = self.answers and tuple(
            replace(answer, start=start)
            for answer, (start, _) in zip(self.answers, spans, strict=True)
        )
        return replace(self, question=question, context=context, answers=answers)

    @property
    def _spans(self) -> list[tuple[int, int]]:
        return [(answer.start, answer.end) for answer in self.answers or ()]


@dataclass(frozen=True)
class Span:
    """A span of the passage: `answer` is `context[start:end]`."""

    answer: str
    start: int
    end: int
    score: float
    """Probability among all spans of the passage, and no answer where that is possible."""


@dataclass(frozen=True)
class AnswerPrediction(Prediction):
    """The answer to a question, and the spans it was chosen from."""

    spans: tuple[Span, ...]
    """The best spans, most probable first; none of an empty passage."""
    no_answer: float | None
    """Probability that the passage has no answer; None where every question has one."""
    margin: float
    """Score of no answer, minus that of the best span."""
    abstains: bool
    """True where no answer is predicted."""

    @property
    def answer(self) -> str:
        """Return the answer, empty for none."""
        return "" if self.abstains else self.spans[0].answer

    @property
    def confidence(self) -> float:
        """Return the probability of the answer, or of none."""
        return self.no_answer or 0.0 if self.abstains else self.spans[0].score

    def to_json(self) -> dict[str, Any]:
        """Return answer, offsets and probability, the probability of none, and the best spans."""
        none = {"answer": "", "start": None, "end": None, "score": self.confidence}
        return {
            **(none if self.abstains else asdict(self.spans[0])),
            **({} if self.no_answer is None else {"no_answer": self.no_answer}),
            "best": [asdict(span) for span in self.spans],
        }


@dataclass(frozen=True, kw_only=True)
class Passage(Item):
    """A question and its passage as windows, with the offsets of tokens in characters."""

    context: str
    offsets: Int[np.ndarray, "tokens 2"]
    """Start and end of each token of the passage in `context`."""
    visible: Bool[np.ndarray, " tokens"]
    """True for a token that is more than white space; answers begin and end with such tokens."""
    cuts: tuple[slice, ...]
    """The tokens of the passage in each window."""
    first: int
    """The position in a window of its first token of the passage."""

    def span(self, answer: Answer) -> tuple[int, int] | None:
        """Return the first and last token of an answer; None where no token has a part of it."""
        start, end = self.offsets.T
        has_part = (start < answer.end) & (end > answer.start) & self.visible
        inside = np.flatnonzero(has_part).tolist()
        return (inside[0], inside[-1]) if inside else None

    def target(self, span: tuple[int, int] | None, cut: slice) -> Int[np.ndarray, "1 2"]:
        """Return first and last position of a span in a window; 0, that of [CLS], if it is cut."""
        if span is None or span[0] < cut.start or span[1] >= cut.stop:
            return np.zeros((1, 2), np.int64)
        first, last = (token - cut.start + self.first for token in span)
        return np.array([[first, last]])

    def scores(
        self, logits: Sequence[Float[np.ndarray, "_ 2"]]
    ) -> Float[np.ndarray, "tokens longest"]:
        """Score each span: [i, k] is the best score of tokens i … i + k over the windows.

        −∞ where no window has the span, or one of its ends is white space.
        """
        scores = np.full((len(self.offsets), LONGEST_ANSWER), -np.inf)
        for cut, window in zip(self.cuts, logits, strict=True):
            inside = window[self.first : self.first + cut.stop - cut.start]
            start, end = np.where(self.visible[cut, None], inside, -np.inf).T
            end = np.pad(end, (0, LONGEST_ANSWER), constant_values=-np.inf)
            ends = sliding_window_view(end, LONGEST_ANSWER)[: len(start)]
            scores[cut] = np.maximum(scores[cut], start[:, None] + ends)
        return scores


@dataclass(frozen=True, kw_only=True)
class QuestionAnsweringOptions(TaskOptions):
    """Find the span of a passage that answers a question."""

    name: Literal["question-answering"] = "question-answering"


@dataclass(frozen=True, kw_only=True)
class QuestionAnswering(Task[QuestionExample, Passage, AnswerPrediction]):
    """Choose the span of a passage that answers a question."""

    COLUMNS: ClassVar[tuple[str, ...]] = ("question", "context", "answers")
    Options: ClassVar[type[TaskOptions]] = QuestionAnsweringOptions
    overflow: Literal["truncate", "windows"] = "windows"
    threshold: float | None = None
    """The margin from which on no answer is predicted; None: every question has an answer."""

    @classmethod
    def fit(
        cls, config: "FinetuneConfig", examples: Sequence[QuestionExample]
    ) -> "QuestionAnswering":
        """Make the task; a threshold if some question has no answer."""
        answered = [bool(example.answers) for example in examples]
        if not any(answered):
            raise UserError(
                f"{examples[0].file}: no question has an answer: there is nothing to learn"
            )
        return cls(max_length=config.max_length, threshold=None if all(answered) else 0.0)

    @classmethod
    def rows(cls, path: File, columns: Columns = AS_NAMED) -> Iterator[Row]:
        """Yield the rows of a file, or the questions of a file in SQuAD's JSON."""
        return columns.of(read_squad(path))

    @classmethod
    def read(cls, row: Row, labelled: bool = True) -> QuestionExample:
        """Read a row with `question`, `context`, `answers` and an optional `id`."""
        texts = {name: row.string(name) for name in ("question", "context")}
        if not labelled:
            return QuestionExample(**texts, answers=None, source=row.source)
        for name, text in texts.items():
            if not text.strip():
                raise UserError(f"{row.source}: the {name} is empty")
        return QuestionExample(**texts, answers=tuple(read_answers(row)), source=row.source)

    def build(self, config: "FinetuneConfig") -> QuestionAnswerer:
        """Build the pretrained encoder under a new head."""
        return QuestionAnswerer.from_pretrained(config.model, new_head=True, dropout=config.dropout)

    def load(self, folder: Path) -> QuestionAnswerer:
        """Load the model in `folder`."""
        return QuestionAnswerer.from_pretrained(folder, add=add_tensors)

    def encode(self, example: QuestionExample, tokenizer: Tokenizer) -> Passage:
        """Encode windows of the passage, each with the question; the target is the first answer.

        A question is cut where it would leave the passage less than half of the tokens.
        """
        asked, passage = tokenizer.tokens(example.question), tokenizer.tokens(example.context)
        room = tokenizer.template.room(self.max_length, is_pair=True)
        assert room is not None
        question = asked[: max(room // 2, room - len(passage))]
        size, lost = max(room - len(question), 1), len(asked) - len(question)  # 0: no passage
        cuts = tuple(windows(len(passage), size, size // OVERLAP))
        encodings = tuple(tokenizer.template.encode(question, passage[cut], lost) for cut in cuts)
        of_passage = [part == 1 for part in encodings[0].sequence_ids]
        item = Passage(
            encodings=encodings,
            context=example.context,
            offsets=np.array(passage.offsets, np.int64).reshape(-1, 2),
            visible=np.array(
                [bool(example.context[a:b].strip()) for a, b in passage.offsets], bool
            ),
            cuts=cuts,
            first=of_passage.index(True) if any(of_passage) else 0,
        )
        if example.answers is None:
            return item
        span = item.span(example.answers[0]) if example.answers else None
        return replace(item, targets=tuple(item.target(span, cut) for cut in cuts))

    def outputs(self, model: PretrainedModel, batch: Batch[Passage]) -> Logits:
        """Compute the logits of each token for the start and the end of the answer."""
        start, end = super().outputs(model, batch)
        return start.float(), end.float()

    def loss(self, outputs: Logits, batch: Batch[Passage]) -> Loss:
        """Compute the mean cross-entropy of both ends, and how many windows are right ("exact")."""
        start, end = by_window(outputs, batch)
        first, last = batch.targets.unbind(-1)
        total = (ops.cross_entropy(start, first) + ops.cross_entropy(end, last)) / 2
        right = (start.detach().argmax(-1) == first) & (end.detach().argmax(-1) == last)
        return Loss(total, len(first), {"exact": right.sum()})

    def divergence(
        self, outputs: Logits, others: Logits, batch: Batch[Passage], temperature: float = 1.0
    ) -> Loss:
        """Compute the mean KL(others ‖ outputs) of both ends over the tokens of each window."""
        pairs = zip(by_window(outputs, batch), by_window(others, batch), strict=True)
        both = [kl_divergence(one, other, temperature) for one, other in pairs]
        return Loss((both[0] + both[1]) / 2, len(batch.places))

    def average(self, outputs: Sequence[Logits], temperature: float = 1.0) -> Logits:
        """Compute the mean logits, since scores of different windows are compared."""
        start, end = (torch.stack(logits).mean(0) for logits in zip(*outputs, strict=True))
        return start, end

    def select(
        self, outputs: Logits, batch: Batch[Passage], places: Sequence[int]
    ) -> tuple[tuple[Float[Tensor, " _"], Float[Tensor, " _"]], Batch[Passage]]:
        """Select the logits of all tokens of some of the items: windows keep their packed order."""
        owners = torch.empty_like(batch.owners).index_put((batch.places,), batch.owners)
        chosen = torch.isin(owners, owners.new_tensor(places))[batch.sequences.sequence_ids]
        start, end = outputs
        return (start[chosen], end[chosen]), batch.select(places)

    def item_counts(self, batch: Batch[Passage]) -> Sequence[int]:
        """Return the number of windows of each passage."""
        return batch.counts

    def predict(self, outputs: Logits, batch: Batch[Passage]) -> list[AnswerPrediction]:
        """Predict the best spans of each passage, over all its windows."""
        logits = batch.split(torch.stack(outputs, -1).cpu().double())
        return [
            self._prediction(item, [window.numpy() for window in windows])
            for item, windows in zip(batch.items, logits, strict=True)
        ]

    def _prediction(
        self, item: Passage, logits: Sequence[Float[np.ndarray, "_ 2"]]
    ) -> AnswerPrediction:
        scores = item.scores(logits)
        null = min(float(window[0].sum()) for window in logits)
        best = float(scores.max(initial=-np.inf))
        may_lack = self.threshold is not None or best == -np.inf
        highest = max(null, best) if may_lack else best
        parts = np.exp(scores - highest)
        none = math.exp(null - highest) if may_lack else 0.0
        whole = parts.sum() + none
        spans: dict[tuple[int, int], Span] = {}
        for place in np.argsort(-scores, axis=None, kind="stable")[:NUM_SPANS].tolist():
            first, more = divmod(place, LONGEST_ANSWER)
            if scores[first, more] > -np.inf:
                start, end = int(item.offsets[first, 0]), int(item.offsets[first + more, 1])
                span = Span(item.context[start:end], start, end, float(parts[first, more] / whole))
                spans.setdefault((start, end), span)
        margin = null - best
        return AnswerPrediction(
            spans=tuple(spans.values())[:NUM_ANSWERS],
            no_answer=float(none / whole) if may_lack else None,
            margin=margin,
            abstains=may_lack and margin > (self.threshold or 0.0),
        )

    def tune(
        self, results: Sequence[tuple[QuestionExample, AnswerPrediction]]
    ) -> "QuestionAnswering":
        """Choose the threshold with the best F1, halfway between two margins."""
        margins, gains = [], []
        for example, prediction in results:
            if prediction.spans:
                gold = [answer.text for answer in example.answers or ()]
                margins.append(prediction.margin)
                gains.append(word_f1(prediction.spans[0].answer, gold) - word_f1("", gold))
        if self.threshold is None or not margins:
            return self
        return replace(self, threshold=best_threshold(np.array(margins), np.array(gains)))

    def decide(self, prediction: AnswerPrediction) -> AnswerPrediction:
        """Choose no answer where the margin is above the threshold."""
        if self.threshold is None:
            return prediction
        return replace(prediction, abstains=prediction.margin > self.threshold)

    def pseudo_label(
        self, example: QuestionExample, prediction: AnswerPrediction
    ) -> QuestionExample:
        """Return the example with the predicted answer, or with none."""
        spans = () if prediction.abstains else prediction.spans[:1]
        return replace(example, answers=tuple(Answer(span.answer, span.start) for span in spans))

    def metric(self) -> AnswerMetric:
        """Measure exact match and F1."""
        return AnswerMetric()

    def add_to(
        self, metric: AnswerMetric, example: QuestionExample, prediction: AnswerPrediction
    ) -> None:
        """Add the gold answers and the predicted one."""
        gold = [answer.text for answer in known(example.answers)]
        metric.add(gold, prediction.answer, prediction.confidence, example.source, example.question)


def by_window(outputs: Logits, batch: Batch[Passage]) -> list[Float[Tensor, "windows longest"]]:
    """Pad the logits of each window, with the lowest number."""
    real = batch.sequences.pad(torch.ones_like(outputs[0], dtype=torch.bool))
    lowest = torch.finfo(outputs[0].dtype).min
    return [batch.sequences.pad(logits).masked_fill(~real, lowest) for logits in outputs]


def best_threshold(margins: Float[np.ndarray, " n"], gains: Float[np.ndarray, " n"]) -> float:
    """Return the threshold between two margins that maximises the gains of the margins below."""
    order = np.argsort(margins)
    edges = np.concatenate([[margins.min() - 2], margins[order], [margins.max() + 2]])
    answered = np.concatenate([[0.0], gains[order].cumsum()])
    answered[edges[:-1] == edges[1:]] = -np.inf
    best = int(answered.argmax())
    return float((edges[best] + edges[best + 1]) / 2)
