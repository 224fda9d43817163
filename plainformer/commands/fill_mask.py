"""`plainformer fill-mask DIR --text …`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plainformer.base import Inference, at_least, check_bounds
from plainformer.line import Positional
from plainformer.options import parse


@dataclass(frozen=True)
class FillMaskOptions:
    """Predict the tokens at [MASK] with a pretrained model."""

    model: Positional[Path]
    """Folder of the pretrained model."""

    text: tuple[str, ...]
    """Sentences with [MASK] at each token to predict."""

    top: int = 5
    """Number of tokens to show for each [MASK]."""

    inference: Inference = field(default_factory=Inference)

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(self, top=at_least(1))


def run(arguments: Sequence[str]) -> None:
    """Predict, and print a line for each [MASK]."""
    options = parse(FillMaskOptions, "fill-mask", arguments)
    from plainformer.encoder import MaskedLM
    from plainformer.finetune.placement import Placement
    from plainformer.pretrain import fill_mask
    from plainformer.tokenizer import load_tokenizer

    placement, tokenizer = Placement.of(options.inference), load_tokenizer(options.model)
    model = placement.prepare(MaskedLM.from_pretrained(options.model))
    for text in options.text:
        print(text)
        for guesses in fill_mask(model, tokenizer, text, options.top):
            print("   " + "  ".join(f"{g.token} {g.probability:.0%}" for g in guesses))
