"""Choose the methods that change the copies, with their settings."""

from collections.abc import Callable
from functools import partial
from typing import Any

from plainformer.finetune.augment.delete import delete_words
from plainformer.finetune.augment.guess import guess_words
from plainformer.finetune.augment.guesser import Guesser
from plainformer.finetune.augment.options import AugmentOptions
from plainformer.finetune.augment.swap import swap_words
from plainformer.finetune.augment.synonyms import read_synonyms, replace_synonyms
from plainformer.training import choose_device

Method = Callable[..., Any]
"""`method(example, generator=…)` -> the changed example."""


def chosen_methods(options: AugmentOptions, device: str) -> dict[str, Method]:
    """Return the chosen methods by name; raise `UserError` for a bad list or model."""
    found: dict[str, Method] = {}
    if options.augment_delete:
        found["delete"] = partial(delete_words, share=options.augment_delete)
    if options.augment_swap:
        found["swap"] = partial(swap_words, share=options.augment_swap)
    if options.augment_synonyms is not None:
        synonyms = read_synonyms(options.augment_synonyms)
        found["synonyms"] = partial(
            replace_synonyms, synonyms=synonyms, share=options.augment_replace
        )
    if options.augment_mlm is not None:
        guesser = Guesser.load(options.augment_mlm, choose_device(device))
        found["mlm"] = partial(guess_words, guesser=guesser, share=options.augment_replace)
    return found
