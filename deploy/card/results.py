"""Collect the scores that a run has left in its files, each with the data that it is of."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from plainformer.corpora import Dataset, catalogue
from plainformer.deploy.card.names import file_name, is_named


@dataclass(frozen=True)
class Data:
    """Examples or text, by the name of a set or of a file."""

    name: str
    known: Dataset | None
    """The set of the catalogue; None for a file."""

    @classmethod
    def of(cls, source: str) -> "Data":
        """Name a source: the folders of a file, and the host and query of a URL, are left out."""
        return cls(source, catalogue[source]) if is_named(source) else cls(file_name(source), None)

    @property
    def format(self) -> str:
        """Return the name of the set, or the kind of a file as the library `datasets` names it."""
        if self.known is not None:
            return self.name
        kinds = {"csv": "csv", "tsv": "csv", "json": "json", "jsonl": "json", "parquet": "parquet"}
        return kinds.get(PurePath(self.name).suffix.removeprefix("."), "text")


@dataclass(frozen=True)
class Result:
    """The scores of a model on some data."""

    data: Data
    part: str
    """The part of the data, and whatever else is to be known: "validation", "10 % held out"."""
    examples: int | None
    scores: Mapping[str, float]
    spread: Mapping[str, float] | None = None
    """Standard deviations, of a mean over several runs."""
    model: str = ""
    """The file that was measured, where a folder has several."""
    by_label: Mapping[str, Mapping[str, float]] | None = None
    warning: str = ""
    """A reason to doubt the scores."""


def result(data: Data, part: str, saved: Mapping[str, Any], model: str = "") -> Result:
    """Return the scores in what a metric has saved."""
    count = saved.get("examples")
    labels = saved.get("per_label")
    return Result(
        data,
        part,
        count if isinstance(count, int) else None,
        numbers(saved),
        model=model,
        by_label=labels if isinstance(labels, dict) else None,
    )


def overlap_in(warnings: object) -> str:
    """Return the warning that examples were trained on, without the file where that is."""
    texts = [text for text in warnings if isinstance(text, str)] if type(warnings) is list else []
    return next((t.partition(" The first is ")[0] for t in texts if "trained on" in t), "")


def over_runs(summary: Mapping[str, Any], data: Data, part: str) -> list[Result]:
    """Return the mean scores over seeds or folds."""
    scores, runs, over = summary.get("scores"), summary.get("runs"), summary.get("over")
    if not isinstance(scores, dict) or not isinstance(runs, dict):
        return []
    means = {name: value.get("mean") for name, value in scores.items() if isinstance(value, dict)}
    spread = {name: value.get("sd") for name, value in scores.items() if isinstance(value, dict)}
    count = max((len(s["values"]) for s in scores.values() if "values" in s), default=0)
    what = f"mean over {count} {over}" + ("" if over == "folds" else f", {part}" * bool(part))
    return [Result(data, what, None, numbers(means), numbers(spread))]


def numbers(saved: Mapping[str, Any]) -> dict[str, float]:
    """Select the scores: numbers other than the count of examples."""
    return {
        name: float(value)
        for name, value in saved.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name != "examples"
    }
