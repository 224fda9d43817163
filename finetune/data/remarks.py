"""Report likely faults of labelled examples before training, one line each."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from plainformer.base import plural
from plainformer.corpora import MISSING
from plainformer.finetune.data.example import Example
from plainformer.finetune.task_options import TaskOptions, balance_of

NAMED = 8
"""The most labels that a line lists."""
UNBALANCED = 10
"""The ratio of the commonest to the rarest label from which labels are called unbalanced."""


def of_labels(counts: Mapping[str, int], options: TaskOptions) -> list[str]:
    """List the labels, and warn of variants in case or spacing and of imbalance."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    (common, most), (rare, least) = ordered[0], ordered[-1]
    shown = ordered if len(ordered) <= NAMED else [*ordered[: NAMED - 1], ordered[-1]]
    named = [f"{label} {count:,}" for label, count in shown]
    if len(ordered) > NAMED:
        named.insert(-1, f"{len(ordered) - NAMED:,} more, …")
    found = [f"{plural(len(ordered), 'label')}: {', '.join(named)}"]
    written = defaultdict(list)
    for label in counts:
        written[" ".join(label.casefold().split())].append(label)
    for labels in written.values():
        if len(labels) > 1:
            same = " and ".join(map(repr, sorted(labels)))
            found.append(f"warning: {same} are learned as different labels: is one misspelt?")
    if most >= UNBALANCED * least and balance_of(options) in (None, "none"):
        hint = "" if balance_of(options) is None else "; see --balance"
        found.append(
            f"warning: the labels are unbalanced: {common!r} occurs {most / least:,.0f} times as "
            f"often as {rare!r}{hint}"
        )
    return found


def of_texts(examples: Iterable[Example]) -> list[str]:
    """Warn of texts that look like missing values."""
    found = [(e.preview, e.source) for e in examples if e.preview in MISSING]
    if not found:
        return []
    text, source = found[0]
    count = f"{len(found):,} texts read" if len(found) > 1 else "a text reads"
    return [f"warning: {count} {text!r} ({source}): leave the rows out where the text is missing"]


def listed(names: list[str]) -> str:
    """Join the first `NAMED` names with commas."""
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
