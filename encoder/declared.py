"""Load a model folder with the head that its config names."""

from collections.abc import Iterable
from pathlib import Path

from plainformer.base import UserError, read_json
from plainformer.encoder import heads
from plainformer.encoder.model import Encoder
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights import family_of, named_architectures, read_tensors
from plainformer.encoder.weights.family import Family


def load_declared(folder: Path) -> tuple[PretrainedModel, str | None, str]:
    """Load `folder` with the head that its `architectures` names: the model, and that name.

    The bare encoder and no name, but a remark, where there is no such head here or in the file.
    """
    raw = read_json(folder / "config.json")
    try:
        family = family_of(raw)
        named = [n for n in named_architectures(raw) if n != family.architectures["Encoder"]]
        there = family.with_prefix(read_tensors(folder)).keys() if named else set()
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    for architecture in named:
        for kind in family.heads:
            if family.architectures[kind] == architecture and holds(there, family, kind):
                return getattr(heads, kind).from_pretrained(folder), architecture, ""
    without = f", without the head of {named[0]}" if named else ""
    return Encoder.from_pretrained(folder), None, without


def holds(there: Iterable[str], family: Family, kind: str) -> bool:
    """Tell whether the tensors `there` are those of a model with this head.

    Our own family names its head in full, so that any tensor outside the encoder is one of it.
    """
    if not family.names:
        return not all(name.startswith(family.prefix) for name in there)
    head = family.heads[kind]
    sign = head.get("classifier", head.get("head.dense"))
    return any(name == f"{sign}.weight" for name in there)
