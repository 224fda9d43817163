"""Score answers by means of numbers, by errors and correlations, and by ranks.

signed error = mean (predicted − true)        above 0: the group is scored too high
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from plainformer.explain.results.results import Measure, Results, Rows, Values
from plainformer.finetune.data.example import known
from plainformer.finetune.metrics.regression import pearson, spearman
from plainformer.finetune.metrics.retrieval import BLOCK, rank_pairs
from plainformer.finetune.metrics.spans import exact_match, word_f1


class TableResults(Results):
    """The numbers of each row from which the scores are computed."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[list[float]] = []

    @abstractmethod
    def numbers(self, example: Any, prediction: Any) -> list[float]:
        """Compute the numbers of a row."""

    def add(self, example: Any, prediction: Any) -> None:
        """Keep the numbers of the example."""
        self._rows.append(self.numbers(example, prediction))
        self.count += 1

    def finish(self) -> None:
        """Write the numbers into a table."""
        self.table = np.array(self._rows, np.float64)


class MeanResults(TableResults):
    """Scores that are means of one number for each row."""

    def __init__(self, scores: dict[str, Callable[[Any, Any], float]]) -> None:
        super().__init__()
        self._scores = scores
        self.measures = tuple(Measure(name, better=1) for name in scores)

    def numbers(self, example: Any, prediction: Any) -> list[float]:
        """Compute the scores of the example."""
        return [score(example, prediction) for score in self._scores.values()]

    def values(self, rows: Rows) -> tuple[Values, Values]:
        """Average the scores."""
        wholes = np.full(len(self.measures), float(len(rows)))
        if not len(rows):
            return wholes + np.nan, wholes
        return self.table[rows].mean(0), wholes


def answer_f1(example: Any, prediction: Any) -> float:
    """Compute the F1 of the words of an answer."""
    return word_f1(prediction.answer, [answer.text for answer in known(example.answers)])


def answer_match(example: Any, prediction: Any) -> float:
    """Tell whether an answer is one of the right ones."""
    return exact_match(prediction.answer, [answer.text for answer in known(example.answers)])


class NumberResults(TableResults):
    """Errors and correlations of one number for each row.

    The signed error is the mean of predicted − true: above 0 the group is scored too high.
    """

    measures = (
        Measure("spearman", better=1),
        Measure("pearson", better=1),
        Measure("mae", better=-1),
        Measure("signed_error"),
        Measure("mean_predicted"),
    )

    def numbers(self, example: Any, prediction: Any) -> list[float]:
        """Return the true and the predicted number."""
        return [known(example.score), prediction.score]

    def values(self, rows: Rows) -> tuple[Values, Values]:
        """Compute the correlations, then the errors."""
        wholes = np.full(len(self.measures), float(len(rows)))
        if not len(rows):
            return wholes + np.nan, wholes
        true, said = self.table[rows].T.copy()
        errors = said - true
        found = [spearman(true, said), pearson(true, said), np.abs(errors).mean()]
        return np.array([*found, errors.mean(), said.mean()]), wholes


class RankResults(Results):
    """Recall and reciprocal rank of each text's pair within its block: see `metrics.retrieval`."""

    measures = (Measure("recall@1", better=1), Measure("mrr", better=1))

    def __init__(self) -> None:
        super().__init__()
        self._vectors: list[Float[np.ndarray, "2 size"]] = []
        self._pairs: dict[str, int] = {}
        self._names: list[int] = []

    def add(self, example: Any, prediction: Any) -> None:
        """Keep the directions of a text and of its pair."""
        self._vectors.append(prediction.directions[:2])
        self._names.append(self._pairs.setdefault(known(example.pair), len(self._pairs)))
        self.count += 1

    def finish(self) -> None:
        """Rank the pair of each text in its block, as `RetrievalMetric` does."""
        texts, pairs = np.stack(self._vectors, axis=1)
        names, found = np.array(self._names), []
        for start in range(0, self.count, BLOCK):
            end = min(start + BLOCK, self.count)
            block = slice(max(0, end - BLOCK), end)
            own = np.arange(start, end)
            is_right = names[own, None] == names[block]
            found.append(rank_pairs(texts[own], pairs[block], is_right, own - block.start)[1])
        self.ranks = np.concatenate(found)

    def values(self, rows: Rows) -> tuple[Values, Values]:
        """Compute the share of the first ranks, and the mean reciprocal rank."""
        wholes = np.full(2, float(len(rows)))
        if not len(rows):
            return wholes + np.nan, wholes
        ranks = self.ranks[rows]
        return np.array([(ranks == 1).mean(), (1 / ranks).mean()]), wholes
