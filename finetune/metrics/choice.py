"""Measure how often the right option is chosen, and how often by chance."""

from collections.abc import Sequence

from plainformer.finetune.metrics.base import Metric, Mistake, ratio


class ChoiceMetric(Metric):
    """Accuracy, and that of chance: the mean of 1 / options."""

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
        """Count one example by the numbers of the right and the predicted option, from 0."""
        self.count += 1
        self.right += predicted == true
        self.chance += 1 / len(options)
        if predicted != true:
            names = options[true], options[predicted]
            self.add_mistake(Mistake(probabilities[predicted], source, text, *names))

    def scores(self) -> dict[str, float]:
        """Compute the accuracy first."""
        return {
            "accuracy": ratio(self.right, self.count),
            "chance": ratio(self.chance, self.count),
        }
