"""Save fingerprints of the examples and the tokenizer of a run, and check them on resuming.

They are saved in `data.json` beside `options.json`. A run that is resumed, or continued with more
seeds or folds, compares them with the current files. The rows of a saved head are the sorted
labels: if the labels changed, the rows would get wrong names.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from plainformer.base import UserError, read_json, write_json
from plainformer.finetune.data.examples import read_examples
from plainformer.finetune.data.unlabelled import read_unlabelled
from plainformer.finetune.fair.groups import read_groups
from plainformer.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

T = TypeVar("T")
Fingerprints = Mapping[str, str]

FILE = "data.json"
COPIES = "copies"
"""The name of the fingerprint of the changed copies."""
GROUPS = "groups"
"""The name of the fingerprint of the groups of the training examples."""
WHERE = {"source", "lines"}
"""Fields of an example for its file and line, which are not hashed."""


class Fingerprint:
    """A hash of examples and their labels, in order."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def watch(self, examples: Iterable[T]) -> Iterator[T]:
        """Yield the examples unchanged, and add each to the hash."""
        for example in examples:
            self._digest.update(repr(content(example)).encode(errors="replace"))
            yield example

    @property
    def value(self) -> str:
        """Return the hash of the examples so far."""
        return self._digest.hexdigest()


def content(example: Any) -> Any:
    """Return the content of an example, without its file and line."""
    if is_dataclass(example):
        named = (field.name for field in fields(example) if field.name not in WHERE)
        return tuple(content(getattr(example, name)) for name in named)
    if isinstance(example, list | tuple):
        return tuple(map(content, example))
    return example


def fingerprints(config: "FinetuneConfig") -> Fingerprints:
    """Compute the fingerprints of the tokenizer and of each file of examples of a run.

    Raises `UserError` with file and line for an example that cannot be read.
    """
    found = {"tokenizer": load_tokenizer(config.model).fingerprint()}
    examples: dict[str, Iterable[Any]] = {}
    columns = config.kind.naming(config.columns)
    for split, source in (("train", config.train), ("valid", config.valid)):
        if source is not None:
            examples[split] = read_examples(config.kind, source, split, columns)
    if config.unlabelled.unlabelled is not None:
        remembered = config.kind.naming((), config.columns)
        unlabelled = read_unlabelled(config.kind, config.unlabelled.unlabelled, remembered)
        examples["unlabelled"] = unlabelled
    if config.fair.group:
        examples[GROUPS] = read_groups(config).items()
    for name, some in examples.items():
        fingerprint = Fingerprint()
        for _ in fingerprint.watch(some):
            pass
        found[name] = fingerprint.value
    return found


def remember(found: Fingerprints, out: Path) -> None:
    """Save the fingerprints in the run folder `out`."""
    write_json(out / FILE, dict(found))


def refuse_changes(found: Fingerprints, out: Path, config: "FinetuneConfig") -> None:
    """Raise `UserError` naming the examples or tokenizer that changed since the run began."""
    saved = read_json(out / FILE)
    named = {
        "tokenizer": config.model,
        "train": config.train,
        "valid": config.valid,
        "unlabelled": config.unlabelled.unlabelled,
        GROUPS: config.train,
    }
    for name, value in found.items():
        if saved.get(name) != value:
            what = "tokenizer has" if name == "tokenizer" else "examples have"
            raise UserError(
                f"{named[name]}: the {what} changed since the run in {out} was begun: "
                "restore them, or choose another folder"
            )


def with_copies(
    found: Fingerprints | None, copies: Sequence[Any], out: Path
) -> Fingerprints | None:
    """Add the fingerprint of changed copies to `found`; where it is None, compare the saved one.

    Raises `UserError` where a resumed run has other copies than it was begun with.
    """
    fingerprint = Fingerprint()
    for _ in fingerprint.watch(copies):
        pass
    of_copies = {COPIES: fingerprint.value} if copies else {}
    if found is not None:
        return {**found, **of_copies}
    if read_json(out / FILE).get(COPIES) != of_copies.get(COPIES):
        raise UserError(
            f"the changed copies of the examples are not those that the run in {out} was begun "
            "with: restore the list of synonyms and the models, or choose another folder"
        )
    return None
