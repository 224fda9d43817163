"""The options of `plainformer shrink`, and which of them go together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from plainformer.base import UserError, above, at_least, between, check_bounds


@dataclass(frozen=True)
class ShrinkOptions:
    """Choose the parts to remove, the training after it, and the number formats of the weights."""

    GROUPS: ClassVar[Mapping[str, str]] = {
        "vocabulary": "what is removed",
        "train": "training after it",
        "weights": "number formats",
        "tolerance": "the result",
    }
    """First option of each group -> the heading of the group in the help."""

    vocabulary: tuple[str, ...] = ()
    """Keep only the tokens of the texts in these files (or sets by name), with all special tokens
    and single characters. Predictions for these texts do not change."""

    layers: int = 0
    """Keep this many layers, the most important ones; 0: all."""

    heads: float = 0.0
    """Remove this share of the attention heads of each layer, the least important ones (0.25 is
    usual). Only Plainformer opens the result."""

    units: float = 0.0
    """Remove this share of the units of each feed-forward layer, the least important ones (0.3 is
    usual)."""

    zeros: float = 0.0
    """Set this share of the weights of the blocks to 0, the smallest of all (0.5 is usual). The
    file keeps its size, and the model its speed; a compressed archive gets smaller."""

    importance: Literal["auto", "magnitude", "gradient"] = "auto"
    """Score layers, heads and units by the norm of their weights, or by the gradient of the loss on
    --train. auto: gradient with --train, magnitude without."""

    train: str | None = None
    """Labelled examples to train on after removing: a file, or the name of a data set. Weights that
    --zeros set to 0 stay 0. Where nothing is removed, --int8 static alone reads them."""

    epochs: float = 1.0
    """Passes over --train; 0 uses it for --importance alone."""

    learning_rate: float = 5e-5
    """The highest learning rate of the training."""

    batch_size: int = 32
    """Number of examples in a batch of the training."""

    seed: int = 0
    """Seed of the order of the examples and of dropout."""

    weights: Literal["keep", "bf16", "fp16"] = "keep"
    """Round the weights in the file to 16 bits; computed with in 32. `transformers` opens it."""

    int8: Literal["no", "static", "dynamic", "weights"] = "no"
    """Round the matrices of the blocks to 8 bits. static: activations, too, in ranges found on the
    texts of --train, or of --data: the fastest on an x86 CPU with VNNI. dynamic: activations by the
    range of each token, for any CPU. weights: matrices and embeddings in the file alone, the
    smallest file. Only Plainformer opens them."""

    tolerance: float = 0.01
    """The largest fall of the first score that is accepted."""

    def __post_init__(self) -> None:
        """Check the options before any work is done."""
        check_bounds(
            self,
            layers=at_least(0),
            heads=between(0, 1, open_="]"),
            units=between(0, 1, open_="]"),
            zeros=between(0, 1, open_="]"),
            epochs=at_least(0),
            learning_rate=above(0),
            batch_size=at_least(1),
            seed=at_least(0),
            tolerance=at_least(0),
        )
        if self.importance == "gradient" and self.train is None:
            raise UserError("importance gradient needs the examples of --train")
        if self.importance != "auto" and not (self.layers or self.heads or self.units):
            raise UserError(
                "importance chooses layers, heads and units: say --layers, --heads or --units"
            )
        if self.train is not None and not self.removes and self.int8 != "static":
            raise UserError(
                "train follows --vocabulary, --layers, --heads, --units, --zeros or --int8 static: "
                "say one, or leave it out"
            )

    @property
    def removes(self) -> bool:
        """Tell whether a part of the model is removed."""
        return bool(self.vocabulary or self.layers or self.heads or self.units or self.zeros)

    @property
    def is_on(self) -> bool:
        """Tell whether there is anything to do."""
        return self.removes or self.weights != "keep" or self.int8 != "no"
