"""How often the right one of some options was chosen, and how often a guess would have been."""

from typing import Protocol, runtime_checkable

from plainformer.finetune.metrics.base import Metric, Mistake, share


@runtime_checkable
class Chosen(Protocol):
    """An example with options of which one is right."""

    @property
    def options(self) -> tuple[str, ...]:
        """All of them."""

    @property
    def right(self) -> int | None:
        """The number of the right one, from 0."""

    @property
    def place(self) -> str:
        """File and line."""

    @property
    def shown(self) -> str:
        """The example as a person reads it."""


@runtime_checkable
class Choosing(Protocol):
    """A prediction of one option."""

    @property
    def option(self) -> str:
        """What it reads."""

    @property
    def number(self) -> int:
        """Its number, from 0."""

    @property
    def probabilities(self) -> tuple[float, ...]:
        """Of every option."""


class ChoiceMetric(Metric[Chosen, Choosing]):
    """Accuracy, and that of chance: the mean of 1 / options."""

    def __init__(self) -> None:
        super().__init__()
        self.right = 0
        self.chance = 0.0

    def add(self, example: Chosen, prediction: Choosing) -> None:
        """Count one example."""
        assert example.right is not None
        self.count += 1
        self.right += prediction.number == example.right
        self.chance += 1 / len(example.options)
        if prediction.number != example.right:
            confidence = prediction.probabilities[prediction.number]
            true = example.options[example.right]
            self.mistaken(
                Mistake(confidence, example.place, example.shown, true, prediction.option)
            )

    def scores(self) -> dict[str, float]:
        """Accuracy, and what guessing comes to."""
        return {
            "accuracy": share(self.right, self.count),
            "chance": share(self.chance, self.count),
        }
