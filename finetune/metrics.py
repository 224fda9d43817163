"""How good a classifier is: accuracy, precision, recall and F1 of each label, the confusions.

With tp, fp, fn the right, the false and the missed of a label: precision = tp / (tp + fp),
recall = tp / (tp + fn), F1 their harmonic mean; macro averages are plain means over the labels.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from cellar import atomic_path

LEGIBLE = 30
"""labels of which a picture can show the counts"""
CJK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
    "Malgun Gothic",
)
"""what matplotlib's own font lacks, as the usual systems bring it"""


@dataclass(frozen=True)
class Report:
    """Everything that follows from the confusion matrix."""

    labels: tuple[str, ...]
    confusion: Int64[np.ndarray, "labels labels"]
    """[i, j]: how many texts of label i were taken for label j"""

    @classmethod
    def of(
        cls,
        labels: Sequence[str],
        true: Int64[np.ndarray, " texts"],
        predicted: Int64[np.ndarray, " texts"],
    ) -> "Report":
        """The report on these numbers of labels, true and predicted."""
        confusion = np.zeros((len(labels), len(labels)), np.int64)
        np.add.at(confusion, (true, predicted), 1)
        return cls(tuple(labels), confusion)

    @property
    def accuracy(self) -> float:
        """Share of the texts that got their label."""
        return float(self.confusion.trace() / self.confusion.sum())

    @property
    def per_label(self) -> dict[str, dict[str, float]]:
        """Precision, recall, F1 and number of texts of each label; 0 where nothing is to count."""
        right = self.confusion.diagonal().tolist()
        support, taken = self.confusion.sum(1).tolist(), self.confusion.sum(0).tolist()
        return {
            label: {
                "precision": _share(right[i], taken[i]),
                "recall": _share(right[i], support[i]),
                "f1": _share(2 * right[i], support[i] + taken[i]),
                "support": support[i],
            }
            for i, label in enumerate(self.labels)
        }

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the labels that occur, or were predicted."""
        seen = (self.confusion.sum(0) + self.confusion.sum(1)) > 0
        scores = [row["f1"] for row in self.per_label.values()]
        return float(
            np.mean([score for score, is_seen in zip(scores, seen, strict=True) if is_seen])
        )

    def to_json(self) -> dict[str, Any]:
        """All of it, for `metrics.json`."""
        return {
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "per_label": self.per_label,
            "confusion": self.confusion.tolist(),
            "labels": list(self.labels),
        }

    def draw(self, path: Path) -> None:
        """The confusion matrix as a picture (PNG): shares of each true label, and counts.

        Beyond `LEGIBLE` labels there is no room for counts.
        """
        from matplotlib.figure import Figure

        size = 2.2 + 0.75 * min(len(self.labels), LEGIBLE)
        figure = Figure(figsize=(size + 0.6, size), layout="constrained")
        axes = figure.subplots()
        support = self.confusion.sum(1, keepdims=True)
        shares = self.confusion / np.maximum(support, 1)
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        counts = self.confusion if len(self.labels) <= LEGIBLE else self.confusion[:0]
        for (i, j), count in np.ndenumerate(counts):
            colour = "white" if shares[i, j] > 0.5 else "black"
            axes.text(j, i, f"{count}", ha="center", va="center", color=colour)
        ticks = range(len(self.labels))
        # A label may hold a "$", which begins a formula elsewhere.
        style: dict[str, Any] = {"parse_math": False, "fontfamily": _fonts()}
        axes.set_xticks(ticks, self.labels, rotation=30, ha="right", **style)
        axes.set_yticks(ticks, self.labels, **style)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.set_title(f"accuracy {self.accuracy:.1%}, {self.confusion.sum():,} texts")
        figure.colorbar(image, ax=axes, shrink=0.75, label="share of the true label")
        with atomic_path(path) as temporary, warnings.catch_warnings():
            # What no font here can write is drawn as a box; the table has it in full.
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            figure.savefig(temporary, format="png", dpi=150)


def _fonts() -> list[str]:
    """The default font, and those of this machine that it is commonly completed with."""
    from matplotlib.font_manager import fontManager

    return ["sans-serif", *(font for font in CJK_FONTS if font in fontManager.get_font_names())]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
