"""Report what changes do to a model: tables of kinds and groups, and an example of each kind."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import Any

import numpy as np

from plainformer.explain.fairness.answers import answer_of
from plainformer.explain.intervals import Interval
from plainformer.explain.stress.effects import Drop, Effect, Gain
from plainformer.explain.stress.measure import Measured
from plainformer.finetune.metrics import Table
from plainformer.finetune.metrics.base import spoken

EVERY = "all examples"
"""The name of the group of all examples."""
CONTEXT = 60
"""Characters of a shown text before the first change."""
LONGEST_SHOWN = 160


@dataclass(frozen=True)
class Shown:
    """An example, and how it was changed."""

    kind: str
    before: str
    after: str
    answers: tuple[str, str]

    def lines(self) -> list[str]:
        """Return a few lines around the first change."""
        texts = [text.replace("\n", " ") for text in (self.before, self.after)]
        same = takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False))
        start = max(0, sum(1 for _ in same) - CONTEXT)
        texts = ["…" * (start > 0) + text[start : start + LONGEST_SHOWN] for text in texts]
        one, other = (f"{t}   [{a:.60}]" for t, a in zip(texts, self.answers, strict=True))
        return [f"  {self.kind:<16}{one}", f"{'→':>17} {other}"]


def tables_of(effects: Sequence[Effect], names: Sequence[str], metric: str) -> list[Table]:
    """Write the effects as a table; of two models the second has a table of its own.

    `names` are those of the models.
    """
    has_groups = any(effect.group != EVERY for effect in effects)
    first = ("change", *(("group", "rows") if has_groups else ()))
    heads = [(e.kind, *((e.group, e.examples) if has_groups else ())) for e in effects]
    columns = (*first, "words", metric, "after", "drop", "95 %", "flipped")
    rows = [
        (*head, e.words, *cells(e.own), between(e.own.interval), e.own.flipped)
        for head, e in zip(heads, effects, strict=True)
    ]
    tables = [Table(names[0], columns, rows)]
    if len(names) > 1:
        columns = (*first, metric, "after", "drop", "won back", "95 %", "flipped")
        others = [
            (*head, *cells(e.other), *won(e.won_back), e.other.flipped)
            for head, e in zip(heads, effects, strict=True)
            if e.other is not None and e.won_back is not None
        ]
        tables.append(Table(names[1], columns, others))
    return tables


def cells(drop: Drop) -> tuple[float, float, float]:
    """Return the scores before and after, and the drop."""
    return drop.before, drop.after, drop.drop


def won(gain: Gain) -> tuple[float, str]:
    """Return what is won back, and its interval."""
    return gain.value, between(gain.interval)


def between(interval: Interval) -> str:
    """Format an interval; what rounds to 0 has no sign."""
    low, high = (spoken(round(end, 3) + 0.0) for end in interval)
    return f"{low} to {high}"


def examples_of(found: Sequence[Measured]) -> list[Shown]:
    """Return an example of each kind: the first whose answer is another, or else the first."""
    shown = []
    for one in found:
        own = one.models[0]
        places = np.flatnonzero(own.changed).tolist()
        flipped = [place for place in places if own.flipped[place] == 1]
        for place in (flipped or places)[:1]:
            texts = [side.examples[place].preview for side in (own.before, own.after)]
            task = own.before.predictor.task
            said = [
                answer_of(task, side.predictions[place]).shown for side in (own.before, own.after)
            ]
            shown.append(Shown(one.kind, texts[0], texts[1], (said[0], said[1])))
    return shown


def as_json(
    effects: Sequence[Effect], shown: Sequence[Shown], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the whole report as a JSON object."""
    return {
        **about,
        "changes": [asdict(effect) for effect in effects],
        "shown": [asdict(one) for one in shown],
    }
