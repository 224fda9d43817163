"""Read the labels of a classifier from `config.json`.

    "id2label": {"0": "no", "1": "yes"}    or    "num_labels": 2

The second gives LABEL_0, LABEL_1 …, and takes precedence where the two disagree, as in
`transformers`. Names must be unique, since predictions are reported by name.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from plainformer.base import Fields, UserError

MOST_LABELS = 2**20


def read_labels(config: Mapping[str, Any]) -> list[str]:
    """Return the name of each label, in order of their numbers.

    A number serves as a name in its decimal form. Raises `UserError` for numbers that are not
    0, 1, 2 … without a gap, for a name that is no text, and for one that two labels have.
    """
    raw = Fields(config, "config.json")
    names = raw.fields("id2label")
    count = raw.whole("num_labels", None, least=1, most=MOST_LABELS)
    if "id2label" not in raw or (count is not None and count != len(names.values)):
        return [f"LABEL_{i}" for i in range(2 if count is None else count)]
    by_number = {_number(key, names): key for key in names.values}
    if not names.values or sorted(by_number) != list(range(len(names.values))):
        raise UserError("config.json: id2label must number its labels 0, 1, 2 … without a gap")
    labels = [_name(by_number[i], names) for i in range(len(by_number))]
    label, times = Counter(labels).most_common(1)[0]
    if times > 1:
        raise UserError(
            f"config.json: id2label gives the name {label!r} to {times} labels: rename all but one"
        )
    return labels


def _number(key: str, names: Fields) -> int:
    if not (key.isascii() and key.isdigit() and len(key) < 10):
        raise UserError(f"{names.source}: {key!r:.60} is not a label number")
    return int(key)


def _name(key: str, names: Fields) -> str:
    name = names.values[key]
    if isinstance(name, bool) or not isinstance(name, str | int | float) or name != name:
        raise names.wrong(key, "the name of a label")
    return str(name)
