"""List the kinds of change by name; `change_of` makes one for a model.

Each keeps the label right, but for `hotflip`, which is the worst case: see its file.
"""

from pathlib import Path
from typing import Any

import torch

from plainformer.base import UserError
from plainformer.explain.stress.casing import lower_words, upper_words
from plainformer.explain.stress.chinese import change_width, homophones, lookalikes
from plainformer.explain.stress.choose import Change
from plainformer.explain.stress.distractor import add_distractor
from plainformer.explain.stress.doubled import double_words
from plainformer.explain.stress.homoglyphs import full_width, homoglyphs
from plainformer.explain.stress.hotflip import HotFlip
from plainformer.explain.stress.invisible import invisible
from plainformer.explain.stress.punctuation import add_punctuation, remove_punctuation
from plainformer.explain.stress.typos import mistype_words
from plainformer.finetune.augment import delete_words, read_synonyms, replace_synonyms
from plainformer.finetune.prediction.predictor import Predictor


def everywhere(change: Change) -> Change:
    """Return the change of all words, whatever the share, unless it is 0."""

    def whole(example: Any, share: float, generator: torch.Generator) -> Any:
        return change(example, float(share > 0), generator)

    return whole


CHANGES: dict[str, Change] = {
    "typos": mistype_words,
    "lower": everywhere(lower_words),
    "upper": everywhere(upper_words),
    "dropped": delete_words,
    "doubled": double_words,
    "no-punctuation": everywhere(remove_punctuation),
    "punctuation": add_punctuation,
    "homoglyphs": homoglyphs,
    "full-width": full_width,
    "invisible": invisible,
    "homophones": homophones,
    "lookalikes": lookalikes,
    "sign-width": everywhere(change_width),
    "distractor": add_distractor,
}
"""The changes that need neither a list nor a model."""
KINDS = (*CHANGES, "paraphrases", "hotflip")
"""The names of all kinds."""


def change_of(kind: str, predictor: Predictor, paraphrases: Path | None = None) -> Change:
    """Make the change of a kind; raise `UserError` for a bad list, or a model without gradients."""
    if kind == "hotflip":
        return HotFlip(predictor)
    if kind == "paraphrases":
        if paraphrases is None:
            raise UserError("paraphrases need a list of them: --paraphrases FILE")
        synonyms = read_synonyms(paraphrases)
        return lambda example, share, generator: replace_synonyms(
            example, synonyms, share, generator
        )
    return CHANGES[kind]
