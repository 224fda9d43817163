"""List the options in which runs differ, and check whether their held-out losses compare.

A held-out loss is a mean over the masked tokens of one held-out text under one tokenizer. Two
losses compare only where text, masks and tokenizer are the same; a run records their fingerprints
in held_out.json.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from plainformer.runs.run import Run

IGNORED_OPTIONS = {"out", "resume", "workers"}
REASONS = {
    "objective": "another objective",
    "tokenizer": "another tokenizer",
    "batches": "other held-out text or other masks",
    "task": "another task",
    "valid": "other validation examples",
}


def differing_options(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Return the values in each run of the options that are not equal in all runs, by name.

    A nested option is named with a dot (`training.steps`); an absent option is None.
    """
    flat = [dict(flattened(run.options)) for run in runs]
    names = dict.fromkeys(name for options in flat for name in options)
    values = {name: [options.get(name) for options in flat] for name in names}
    return {
        name: row
        for name, row in values.items()
        if name not in IGNORED_OPTIONS and any(value != row[0] for value in row)
    }


def flattened(options: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all options, nested ones under dotted names."""
    for name, value in options.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def why_not_comparable(one: Run, other: Run) -> str | None:
    """Return the reason why the held-out losses of two runs do not compare; None if they do."""
    if one.stage.partition(" ")[0] != other.stage.partition(" ")[0]:
        return "another stage"
    first, second = held_out_of(one), held_out_of(other)
    if first is None or second is None:
        unknown = one if first is None else other
        return f"{unknown.folder} does not record its held-out data"
    differing = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    return ", ".join(REASONS.get(name, name) for name in differing) or None


def held_out_of(run: Run) -> Mapping[str, Any] | None:
    """Identify the held-out data of a run: by fingerprints in pretraining, by file in fine-tuning.

    Without a `valid` file, `valid_share` of the training file is held out.
    """
    if run.task:
        held_out = [run.options.get(name) for name in ("train", "valid_share")]
        return {"task": run.task, "valid": run.options.get("valid") or held_out}
    return run.measured_on
