"""Write the front matter of a card: the YAML that the hub reads.

license and language are there only where they are known; datasets are sets of the catalogue, since
the name of a file says nothing to others.
"""

import math
from collections.abc import Mapping
from typing import Any

import yaml

from plainformer.deploy.card.facts import Facts
from plainformer.deploy.card.loading import EXPORTED, library_of
from plainformer.deploy.card.results import Result
from plainformer.deploy.card.tasks import WORDINGS
from plainformer.encoder.weights import named_architectures

METRICS = {
    "auc": "roc_auc",
    "spearman": "spearmanr",
    "pearson": "pearsonr",
    "f1": "f1",
    "precision": "precision",
    "recall": "recall",
    "accuracy": "accuracy",
}
"""Last word of the name of a score -> the hub's name of the metric; others keep theirs."""
LISTED = 3
"""Scores of a result that are listed in `metrics`."""
PARTS = {"validation part": "validation", "test part": "test"}
"""Part of a set -> the hub's name of the split."""


def front_matter(facts: Facts, title: str) -> dict[str, Any]:
    """Return the fields of the front matter, those first that a reader looks for."""
    tag = pipeline_tag(facts)
    first = {(one.data.name, one.part): one for one in reversed(facts.results)}.values()
    results = [entry for one in first if (entry := eval_result(facts, one))]
    names = [name for one in facts.results for name in list(one.scores)[:LISTED]]
    fields = {
        "language": list(facts.languages),
        "library_name": library_of(facts),
        "pipeline_tag": tag,
        "base_model": facts.base,
        "datasets": [data.name for data in facts.train if data.known is not None],
        "metrics": list(dict.fromkeys(map(metric_type, names))),
        "tags": ["plainformer", *["onnx"] * (facts.folder / EXPORTED).is_file()],
        "model-index": [{"name": title, "results": results}] if results else [],
    }
    return {name: value for name, value in fields.items() if value}


def pipeline_tag(facts: Facts) -> str | None:
    """Return the hub's name of what the head does, so that no other head is put on the model."""
    masked = any(name.endswith("MaskedLM") for name in named_architectures(facts.config))
    if masked or facts.task_name is None:
        return "fill-mask" if masked else None
    return WORDINGS[facts.task_name].tag


def eval_result(facts: Facts, result: Result) -> dict[str, Any] | None:
    """Return a result in the form of `model-index`; None without a task or a score."""
    tag = WORDINGS[facts.task_name].tag if facts.task_name is not None else pipeline_tag(facts)
    metrics = [
        {"type": metric_type(name), "value": value, "name": metric_name(name)}
        for name, value in result.scores.items()
        if math.isfinite(value)
    ]
    if tag is None or not metrics:
        return None
    data: dict[str, Any] = {"name": result.data.name, "type": result.data.format}
    if result.part in PARTS:
        data["split"] = PARTS[result.part]
    return {"task": {"type": tag}, "dataset": data, "metrics": metrics}


def metric_type(name: str) -> str:
    """Return the hub's name of a score."""
    return METRICS.get(name.rpartition("_")[2], name)


def metric_name(name: str) -> str:
    """Write the name of a score for people: macro F1."""
    words = {"f1": "F1", "auc": "AUC", "mse": "MSE", "mae": "MAE", "mrr": "MRR"}
    return " ".join(words.get(word, word) for word in name.split("_"))


def as_yaml(fields: Mapping[str, Any]) -> str:
    """Write fields as YAML, between the lines that mark them as front matter."""
    text = yaml.safe_dump(dict(fields), sort_keys=False, allow_unicode=True, width=10**6)
    return f"---\n{text}---\n"
