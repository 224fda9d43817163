"""Question answering: which span of a passage answers a question?

    loss = −½ (log softmax(start)[first] + log softmax(end)[last])      over the tokens of a window
    score(i, j) = startᵢ + endⱼ,  i ≤ j < i + 30        answer = the span of the highest score

[CLS] question [SEP] passage [SEP]: a passage that is too long is read in windows, each with the
whole question. In a window that lacks the answer, or a part of it, [CLS] is first and last. So
[CLS] scores "no answer" (start₀ + end₀), and its lowest score over the windows less that of the
best span tells whether there is one; the threshold is the one that did best in validation.
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
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.metrics import AnswerMetric
from plainformer.finetune.metrics.spans import word_f1
from plainformer.finetune.task import AS_NAMED, OVERLAP, Task
from plainformer.finetune.task_options import TaskOptions
from plainformer.tokenizer import Tokenizer
from plainformer.tokenizer.encoding import windows
from plainformer.training import Loss

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

LONGEST_ANSWER = 30
"""tokens"""
SHOWN = 3
"""answers that are told, the best first"""
LOOKED_AT = 20
"""spans among which they are found: several may be of the same characters"""

Logits = tuple[Float[Tensor, " tokens"], Float[Tensor, " tokens"]]


@dataclass(frozen=True)
class QuestionExample:
    """A question on a passage, and its answers: none where it has none, None if not known."""

    question: str
    context: str
    answers: tuple[Answer, ...] | None
    place: str

    @property
    def shown(self) -> str:
        """Question and passage, as a person reads them."""
        return f"{self.question} ⟷ {self.context}"


@dataclass(frozen=True)
class Span:
    """A piece of the passage: `answer` is `context[start:end]`."""

    answer: str
    start: int
    end: int
    score: float
    """probability among all spans of the passage, and no answer where that may be"""

    def to_json(self) -> dict[str, Any]:
        """Text, place and probability."""
        return asdict(self)


@dataclass(frozen=True)
class AnswerPrediction:
    """What answers a question."""

    spans: tuple[Span, ...]
    """the best ones, most probable first; none where the passage holds nothing"""
    no_answer: float | None
    """probability that the passage has no answer; None where every question has one"""
    margin: float
    """score of no answer, less that of the best span"""
    abstains: bool
    """whether it is taken to have none"""

    @property
    def answer(self) -> str:
        """The answer, empty for none."""
        return "" if self.abstains else self.spans[0].answer

    @property
    def score(self) -> float:
        """The probability of what is said."""
        return self.no_answer or 0.0 if self.abstains else self.spans[0].score

    def to_json(self) -> dict[str, Any]:
        """The answer, its place and probability; that there is none; and the best spans."""
        none = {"answer": "", "start": None, "end": None, "score": self.score}
        return {
            **(none if self.abstains else self.spans[0].to_json()),
            **({} if self.no_answer is None else {"no_answer": self.no_answer}),
            "best": [span.to_json() for span in self.spans],
        }


@dataclass(frozen=True, kw_only=True)
class Passage(Item):
    """A question and its passage as windows, and the way back to characters."""

    context: str
    offsets: Int[np.ndarray, "tokens 2"]
    """where in `context` each token of the passage begins and ends"""
    visible: Bool[np.ndarray, " tokens"]
    """which of them are more than white space: an answer begins and ends with one"""
    cuts: tuple[slice, ...]
    """the tokens of the passage that each window has"""
    first: int
    """where in a window they begin"""

    def span(self, answer: Answer) -> tuple[int, int] | None:
        """The first and last token that have a part of the answer; None where none has any."""
        start, end = self.offsets.T
        has_part = (start < answer.end) & (end > answer.start) & self.visible
        inside = np.flatnonzero(has_part).tolist()
        return (inside[0], inside[-1]) if inside else None

    def target(self, span: tuple[int, int] | None, cut: slice) -> Int[np.ndarray, "1 2"]:
        """Where in a window a span begins and ends; [CLS], which is first, if a part is missing."""
        if span is None or span[0] < cut.start or span[1] >= cut.stop:
            return np.zeros((1, 2), np.int64)
        first, last = (token - cut.start + self.first for token in span)
        return np.array([[first, last]])

    def scores(
        self, logits: Sequence[Float[np.ndarray, "_ 2"]]
    ) -> Float[np.ndarray, "tokens longest"]:
        """[i, k]: of the span of the passage's tokens i … i + k, the best over the windows.

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
class QuestionAnswering(Task[QuestionExample, AnswerPrediction]):
    """Which span answers?"""

    COLUMNS: ClassVar[tuple[str, ...]] = ("question", "context", "answers")
    Options: ClassVar[type[TaskOptions]] = QuestionAnsweringOptions
    overflow: Literal["truncate", "windows"] = "windows"
    threshold: float | None = None
    """a question is not answered where its margin is above; None: every question has an answer"""

    @classmethod
    def fit(
        cls, config: "FinetuneConfig", examples: Sequence[QuestionExample]
    ) -> "QuestionAnswering":
        """Answers may be missing where they are missing here."""
        answered = [bool(example.answers) for example in examples]
        if not any(answered):
            file = examples[0].place.rpartition(":")[0]
            raise UserError(f"{file}: no question has an answer: there is nothing to learn")
        return cls(max_length=config.max_length, threshold=None if all(answered) else 0.0)

    @classmethod
    def stratum(cls, example: QuestionExample) -> bool:
        """Tell whether the question has an answer."""
        return bool(example.answers)

    @classmethod
    def together(cls, example: QuestionExample) -> str:
        """Return the passage, shared by all its questions."""
        return example.context

    @classmethod
    def rows(cls, path: File, columns: Columns = AS_NAMED) -> Iterator[Row]:
        """SQuAD's JSON, or rows."""
        return columns.of(read_squad(path))

    @classmethod
    def read(cls, row: Row, labelled: bool = True) -> QuestionExample:
        """A row has `question`, `context` and `answers`, and may have `id`."""
        place = f"{row.file}:{row.line}"
        question, context = row.string("question"), row.string("context")
        if not labelled:
            return QuestionExample(question, context, None, place)
        for name, text in (("question", question), ("context", context)):
            if not text.strip():
                raise UserError(f"{place}: the {name} is empty")
        return QuestionExample(question, context, tuple(read_answers(row)), place)

    def build(self, config: "FinetuneConfig") -> QuestionAnswerer:
        """A new head on the pretrained encoder."""
        return QuestionAnswerer.from_pretrained(config.model, new_head=True, dropout=config.dropout)

    def load(self, folder: Path) -> QuestionAnswerer:
        """The model in `folder`."""
        return QuestionAnswerer.from_pretrained(folder)

    def encode(self, example: QuestionExample, tokenizer: Tokenizer) -> Passage:
        """Windows of the passage, each with the question; and in each the first of the answers.

        A question is cut where it leaves the passage less than half of the room.
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

    def loss(self, outputs: Logits, batch: Batch) -> Loss:
        """The mean cross-entropy of both ends in each window, and how many are right ("exact")."""
        real = batch.sequences.pad(torch.ones_like(outputs[0], dtype=torch.bool))
        lowest = torch.finfo(torch.float32).min
        start, end = (
            batch.sequences.pad(logits.float()).masked_fill(~real, lowest) for logits in outputs
        )
        first, last = batch.targets.unbind(-1)
        total = (ops.cross_entropy(start, first) + ops.cross_entropy(end, last)) / 2
        right = (start.detach().argmax(-1) == first) & (end.detach().argmax(-1) == last)
        return Loss(total, len(first), {"exact": right.sum()})

    def predict(self, outputs: Logits, batch: Batch) -> list[AnswerPrediction]:
        """The best spans of each passage, over all its windows."""
        logits = batch.split(torch.stack(outputs, -1).double().cpu())
        return [
            self._prediction(item, [window.numpy() for window in windows])
            for item, windows in zip(batch.items, logits, strict=True)
        ]

    def _prediction(
        self, item: Item, logits: Sequence[Float[np.ndarray, "_ 2"]]
    ) -> AnswerPrediction:
        assert isinstance(item, Passage)
        scores = item.scores(logits)
        null = min(float(window[0].sum()) for window in logits)
        best = float(scores.max(initial=-np.inf))
        may_lack = self.threshold is not None or best == -np.inf
        highest = max(null, best) if may_lack else best
        parts = np.exp(scores - highest)
        none = math.exp(null - highest) if may_lack else 0.0
        whole = parts.sum() + none
        spans: dict[tuple[int, int], Span] = {}
        for place in np.argsort(-scores, axis=None, kind="stable")[:LOOKED_AT].tolist():
            first, more = divmod(place, LONGEST_ANSWER)
            if scores[first, more] > -np.inf:
                start, end = int(item.offsets[first, 0]), int(item.offsets[first + more, 1])
                span = Span(item.context[start:end], start, end, float(parts[first, more] / whole))
                spans.setdefault((start, end), span)
        margin = null - best
        return AnswerPrediction(
            spans=tuple(spans.values())[:SHOWN],
            no_answer=float(none / whole) if may_lack else None,
            margin=margin,
            abstains=may_lack and margin > (self.threshold or 0.0),
        )

    def tune(
        self, results: Sequence[tuple[QuestionExample, AnswerPrediction]]
    ) -> "QuestionAnswering":
        """The threshold of the best F1 here, halfway between two margins."""
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
        """An answer, or none where the margin is above the threshold."""
        if self.threshold is None:
            return prediction
        return replace(prediction, abstains=prediction.margin > self.threshold)

    def metric(self) -> AnswerMetric:
        """Exact match and F1."""
        return AnswerMetric()


def best_threshold(margins: Float[np.ndarray, " n"], gains: Float[np.ndarray, " n"]) -> float:
    """The number between margins up to which it gains most to answer."""
    order = np.argsort(margins)
    edges = np.concatenate([[margins.min() - 2], margins[order], [margins.max() + 2]])
    answered = np.concatenate([[0.0], gains[order].cumsum()])
    answered[edges[:-1] == edges[1:]] = -np.inf
    best = int(answered.argmax())
    return float((edges[best] + edges[best + 1]) / 2)
