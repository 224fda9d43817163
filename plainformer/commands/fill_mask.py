"""`plainformer fill-mask DIR --text …`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plainformer.base import at_least, check_bounds
from plainformer.line import Positional
from plainformer.options import parse


@dataclass(frozen=True)
class FillMaskOptions:
    """Show what a pretrained model expects at [MASK]."""

    model: Positional[Path]
    """Folder of the pretrained model."""

    text: tuple[str, ...]
    """Sentences with [MASK] where a word is to be guessed."""

    top: int = 5
    """How many guesses to show."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, top=at_least(1))


def run(arguments: Sequence[str]) -> None:
    """Guess, and print a line for each mask."""
    options = parse(FillMaskOptions, "fill-mask", arguments)
    from plainformer.encoder import MaskedLM
    from plainformer.pretrain import fill_mask
    from plainformer.tokenizer import load_tokenizer

    tokenizer, model = load_tokenizer(options.model), MaskedLM.from_pretrained(options.model)
    for text in options.text:
        print(text)
        for guesses in fill_mask(model, tokenizer, text, options.top):
            print("   " + "  ".join(f"{g.token} {g.probability:.0%}" for g in guesses))
