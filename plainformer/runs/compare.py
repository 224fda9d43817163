"""What tells runs apart, and whether their losses may be held against each other.

A held-out loss is a mean over certain places of certain text, cut by a certain tokenizer: only
where all of these are the same is a lower one better. A run notes them in held_out.json.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from plainformer.runs.run import Run

UNIMPORTANT = {"out", "resume", "workers"}
SPOKEN = {
    "objective": "another objective",
    "tokenizer": "another tokenizer",
    "batches": "other held-out text, or other places asked for",
    "task": "another task",
    "valid": "other validation examples",
}


def differing_options(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Name → the value in each run, of the options that are not the same in all of them.

    Options within options have names with a point; one that a run has not is None.
    """
    flat = [dict(flattened(run.options)) for run in runs]
    names = dict.fromkeys(name for options in flat for name in options)
    values = {name: [options.get(name) for options in flat] for name in names}
    return {
        name: row
        for name, row in values.items()
        if name not in UNIMPORTANT and any(value != row[0] for value in row)
    }


def flattened(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The options, and those within them, by name."""
    for name, value in options.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def why_not_comparable(one: Run, other: Run) -> str | None:
    """Why the held-out numbers of two runs do not compare; None where they do."""
    if one.stage.partition(" ")[0] != other.stage.partition(" ")[0]:
        return "another stage"
    first, second = measured_on(one), measured_on(other)
    if first is None or second is None:
        silent = one if first is None else other
        return f"{silent.folder} does not say what it is measured on"
    differing = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    return ", ".join(SPOKEN.get(name, name) for name in differing) or None


def measured_on(run: Run) -> Mapping[str, Any] | None:
    """Identify the held-out data of a run: by fingerprints in pretraining, by name in a task.

    Without `valid` a share of the training examples is held out.
    """
    if "task" in run.options:
        held_out = [run.options.get(name) for name in ("train", "valid_share")]
        return {"task": run.options["task"], "valid": run.options.get("valid") or held_out}
    return run.measured_on
