"""Save the settings of a head in `config.json`, and read them again.

    setting         field of config.json
    labels          id2label, label2id (see `weights.labels`)
    pooling         classifier_pooling
    problem_type    problem_type

Each class names its own in `saved_settings`.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from plainformer.base import UserError
from plainformer.encoder.weights.labels import read_labels

if TYPE_CHECKING:
    from plainformer.encoder.pretrained import PretrainedModel

FIELDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "pooling": ("classifier_pooling", ("cls", "mean")),
    "problem_type": (
        "problem_type",
        ("single_label_classification", "multi_label_classification", "regression"),
    ),
}
"""Setting -> the field of `config.json`, and its valid values."""


def write_settings(model: "PretrainedModel") -> dict[str, Any]:
    """Return the fields of `config.json` that hold the settings of a model."""
    fields: dict[str, Any] = {}
    for name in model.saved_settings:
        value = getattr(model, name)
        if name == "labels":
            fields["id2label"] = {str(i): label for i, label in enumerate(value)}
            fields["label2id"] = {label: i for i, label in enumerate(value)}
        else:
            fields[FIELDS[name][0]] = value
    return fields


def read_settings(
    raw: Mapping[str, Any], names: Collection[str], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the settings in `config.json`, replaced and completed by the `given` ones.

    Raises `UserError` for a value that is not supported.
    """
    settings: dict[str, Any] = {}
    if "labels" in names:
        settings["labels"] = list(given["labels"]) if "labels" in given else read_labels(raw)
    for name in (name for name in FIELDS if name in names):
        field, choices = FIELDS[name]
        if raw.get(field) is not None:
            settings[name] = raw[field]
            if raw[field] not in choices:
                raise UserError(f"{field} {raw[field]!r:.60} is not supported")
    is_single = settings.get("problem_type") == "single_label_classification"
    if is_single and len(settings.get("labels", ())) == 1:
        raise UserError("problem_type single_label_classification needs two labels, and has one")
    return settings | dict(given)
