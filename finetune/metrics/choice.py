"""Measure multiple choice by accuracy, beside the accuracy of a random choice."""

from collections.abc import Sequence

from plainformer.finetune.metrics.base import Metric, Mistake, ratio


class ChoiceMetric(Metric):
    """Accuracy, and the accuracy of a random choice: the mean of 1 / number of options."""

    def __init__(self) -> None:
        super().__init__()
        self.right = 0
        self.chance = 0.0

    def add(
        self,
        true: int,
        predicted: int,
        probabilities: Sequence[float],
        options: Sequence[str],
        source: str = "",
        text: str = "",
    ) -> None:
        """Add one example: the indices of its right and its predicted option."""
        self.count += 1
        self.right += predicted == true
        self.chance += 1 / len(options)
        if predicted != true:
            names = options[true], options[predicted]
            self.add_mistake(Mistake(probabilities[predicted], source, text, *names))

    def scores(self) -> dict[str, float]:
        """Compute the accuracy, and that of a random choice."""
        return {
            "accuracy": ratio(self.right, self.count),
            "chance": ratio(self.chance, self.count),
        }
