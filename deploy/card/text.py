"""Write the text of a card: what the model is, how good, how it was trained, how it is used."""

import math
import re
from collections.abc import Iterable, Sequence

from plainformer import __version__
from plainformer.deploy.card.facts import Facts
from plainformer.deploy.card.front_matter import as_yaml, front_matter, metric_name
from plainformer.deploy.card.loading import loadings
from plainformer.deploy.card.results import Data, Result
from plainformer.deploy.card.tasks import WORDINGS
from plainformer.encoder.weights import family_of, is_adapter, named_architectures
from plainformer.encoder.weights.native import NATIVE
from plainformer.encoder.weights.storage import FIELD
from plainformer.finetune.calibration import UNCALIBRATED

MOST_LABELS, MOST_SCORES = 30, 8
"""Labels that are named, and columns of scores of one table."""


NAMES = {"onnx": "ONNX Runtime"}
"""The hub's name of a library -> what it is called."""


def card_text(facts: Facts) -> str:
    """Write the whole card, front matter included."""
    title = title_of(facts)
    sections = [
        f"# {plain(title)}",
        about(facts),
        "## How well it does",
        scores(facts),
        "## How it was trained",
        training(facts),
        "## How to use it",
        usage(facts),
        "## Limits",
        limits(facts),
    ]
    return as_yaml(front_matter(facts, title)) + "\n" + "\n\n".join(sections) + "\n"


def title_of(facts: Facts) -> str:
    """Return the title of the card: the starting model, and the training data."""
    begin = (facts.start or facts.architecture).rpartition("/")[2]
    data = " and ".join(data.name for data in facts.train[:2])
    verb = "pretrained" if facts.task is None else "fine-tuned"
    learned = f", {verb} on {data}" if data else ""
    return f"{begin}{learned}{facts.made and f', {facts.made}'}"


def about(facts: Facts) -> str:
    """Say what the model is and does."""
    shape = facts.shape
    what = "A Transformer encoder" if shape is not None else "A table of token vectors, no encoder"
    known = [facts.architecture]
    if shape is not None:
        known += [f"{shape.num_hidden_layers} layers of width {shape.hidden_size}"]
    if facts.parameters is not None:
        kind = "added or trained parameters" if is_adapter(facts.folder) else "parameters"
        known += [f"{facts.parameters:,} {kind}"]
    lines = [f"{what} ({', '.join(known)}), made with Plainformer {__version__}."]
    if facts.task_name is not None:
        lines.append(f"It {WORDINGS[facts.task_name].does}.")
    elif any(name.endswith("MaskedLM") for name in named_architectures(facts.config)):
        lines.append("It fills in masked words, and is to be fine-tuned for a task.")
    else:
        lines.append("It is to be fine-tuned for a task.")
    if facts.labels:
        lines.append(f"\n\nLabels: {listed(map(code, facts.labels), MOST_LABELS)}.")
    return " ".join(lines).replace(" \n", "\n")


def scores(facts: Facts) -> str:
    """Tabulate the scores, each row with its data and the number of its examples."""
    if not facts.results:
        return "It has not been measured."
    names = list(dict.fromkeys(name for one in facts.results for name in one.scores))[:MOST_SCORES]
    has_files = any(one.model for one in facts.results)
    head = [*["model"] * has_files, "data", "examples", *map(metric_name, names)]
    rows = [
        [
            *[code(one.model)] * has_files,
            source(one.data, one.part),
            "" if one.examples is None else f"{one.examples:,}",
            *(number(one, name) for name in names),
        ]
        for one in facts.results
    ]
    parts = [table(head, rows)]
    parts += [
        f"On {source(one.data, one.part)}: {plain(one.warning)}"
        for one in facts.results
        if one.warning
    ]
    labelled = [one for one in facts.results if one.by_label and len(one.by_label) <= MOST_LABELS]
    if labelled:
        parts += [f"By label, on {source(labelled[-1].data, labelled[-1].part)}:"]
        parts += [labels_table(labelled[-1])]
    return "\n\n".join(parts)


def labels_table(result: Result) -> str:
    """Tabulate the scores of each label."""
    by_label = {
        label: row for label, row in (result.by_label or {}).items() if isinstance(row, dict)
    }
    names = list(dict.fromkeys(name for row in by_label.values() for name in row))
    head = ["label", *("examples" if name == "support" else metric_name(name) for name in names)]
    rows = by_label.items()
    return table(head, [[code(of), *(rounded(row.get(n)) for n in names)] for of, row in rows])


def training(facts: Facts) -> str:
    """Say what the model began with, what it learned from, and how to repeat it."""
    parts = []
    began = "random weights" if facts.start is None else code(facts.start)
    if facts.train:
        parts.append(f"It began with {began}.")
        parts += [described(data) for data in facts.train]
    elif facts.start is not None:
        parts.append(f"It was made of {began}.")
    parts += facts.notes
    if facts.commands:
        parts.append(f"To repeat it with Plainformer {__version__}, with your paths:")
        parts.append(block("\n".join(facts.commands)))
    return "\n\n".join(parts) or "That is not recorded."


def described(data: Data) -> str:
    """Describe a set of the catalogue, or name a file."""
    if data.known is None:
        return f"Data: the file or folder {code(data.name)} of its author."
    known = data.known
    return (
        f"Data: {code(data.name)}, {plain(known.title)}. {linked(known.citation.rstrip('.'))}. "
        f"Licence of the data: {plain(known.licence)}."
    )


def usage(facts: Facts) -> str:
    """Show how the model is opened here and, where that is known to work, elsewhere."""
    parts = []
    for number, one in enumerate(loadings(facts)):
        if number:
            parts.append(f"With {NAMES.get(one.library, one.library)}:")
        parts += [block(f"pip install {one.package}"), block(one.code, "python")]
    return "\n\n".join(parts)


def limits(facts: Facts) -> str:
    """List what a reader has to know before using the model."""
    task, found = facts.task, []
    if facts.is_chosen and any(not one.part.startswith("test") for one in facts.results):
        found.append(
            "The weights were chosen by their score on the validation examples: on new texts "
            "expect a little less."
        )
    if task is not None:
        found += task_limits(facts)
    if facts.train:
        names = ", ".join(code(data.name) for data in facts.train)
        found.append(
            f"It knows texts like those of {names}. It gives an answer for any other text too, and "
            "repeats the mistakes and prejudices of what it learned from."
        )
    if facts.config.get(FIELD):
        found.append("Its weights are in 8 bits, in a layout that only Plainformer opens.")
    elif facts.shape is not None and family_of(facts.config) is NATIVE:
        found.append("`transformers` has no model of its shape: only Plainformer opens it.")
    return "\n".join(f"- {line}" for line in found) or "- None are recorded."


def task_limits(facts: Facts) -> list[str]:
    """List the limits that come with the task and its settings."""
    task, found = facts.task, []
    assert task is not None
    if task.overflow == "windows":
        found.append(
            f"A text of more than {task.max_length:,} tokens is read in windows by Plainformer; "
            "other libraries cut it."
        )
    elif facts.shape is not None:
        found.append(f"Of a text the first {task.max_length:,} tokens are read.")
    thresholds = getattr(task, "thresholds", ()) or getattr(task, "positive", None)
    if thresholds:
        found.append("Labels have tuned thresholds (`task.json`), which only Plainformer applies.")
    if task.calibration != UNCALIBRATED:
        found.append("Its confidence is calibrated (`task.json`), which only Plainformer applies.")
    if getattr(task, "decoding", "each") != "each":
        with_crf = " with the CRF of `crf.safetensors`" * (getattr(task, "decoding", "") == "crf")
        found.append(
            f"Plainformer predicts whole entities{with_crf}; others choose each tag alone."
        )
    if facts.task_name in ("relation", "prompt"):
        found.append("Plainformer marks the text or fills the template; elsewhere do so yourself.")
    return found


def source(data: Data, part: str) -> str:
    """Name data and its part."""
    return code(data.name) + (f", {plain(part)}" if part else "")


def number(result: Result, name: str) -> str:
    """Write a score, with its standard deviation where it is a mean."""
    spread = (result.spread or {}).get(name)
    return rounded(result.scores.get(name)) + ("" if spread is None else f" ± {rounded(spread)}")


def rounded(value: float | None) -> str:
    """Write a count whole, and another number to four places; a dash for none."""
    if not isinstance(value, int | float) or math.isnan(value):
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


# Markdown


def plain(text: str) -> str:
    """Escape a text, so that Markdown shows its characters, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#~&$])", r"\\\1", " ".join(text.split()))


def code(text: str) -> str:
    """Write a text as code, on one line, also within a table."""
    text = " ".join(text.split()) or " "
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    room = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{room}{text}{room}{ticks}".replace("|", "\\|")


def linked(text: str) -> str:
    """Escape a text in which addresses stay links."""
    parts = re.split(r"(https?://[^\s<>]*[^\s<>.,])", text)
    return "".join(f"<{p}>" if n % 2 else plain_spaced(p) for n, p in enumerate(parts))


def plain_spaced(text: str) -> str:
    """Escape a part of a line, with the spaces at its ends."""
    lead, tail = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    return f"{' ' * bool(lead)}{plain(text)}{' ' * bool(tail and text.strip())}"


def block(text: str, language: str = "") -> str:
    """Write lines as a block of code, in a fence that they do not hold."""
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{ticks}{language}\n{text}\n{ticks}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; its cells are escaped already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def listed(names: Iterable[str], most: int) -> str:
    """Join names, and count those beyond `most`."""
    every = list(names)
    rest = f" and {len(every) - most:,} more" if len(every) > most else ""
    return ", ".join(every[:most]) + rest
