"""The baseline of the speedrun: Muon, 40 % masked, random heads, small steps."""

from dataclasses import replace

from jaxtyping import Float
from speedrun import HiddenText
from time_to_loss import Candidate, Material, build
from torch import Tensor

from plainformer.training.optimizer import build_optimizer
from plainformer.training.parallel import ModelCall
from plainformer.training.step import take_step

RECIPE = Candidate(
    "modern",
    learning_rate=2e-3,
    tokens=0.55,
    sequences=8,
    optimizer="muon",
    matrix_learning_rate=0.015,
    schedule="wsd",
    warmup=0.02,
    decay=0.4,
    weight_decay=0.1,
    mask_ratio=0.4,
    initializer_range=0.049,
)


class Entry:
    """A model of the recipe, in training."""

    recipe = RECIPE

    def __init__(self, material: Material, seed: int) -> None:
        candidate = replace(self.recipe, seed=seed)
        self.config = candidate.config
        self.steps = self.config.steps
        self.model, self.loss = build(candidate, material.tokenizer, as_called=False)
        self.batches = material.batches(candidate)
        self.optimizer = build_optimizer(self.model, self.config)
        self.model.train()

    def step(self, step: int) -> None:
        """Take optimizer step `step`, from 0."""
        take_step(ModelCall(self.model), self.loss, self.batches, self.optimizer, self.config, step)

    def logits(self, text: HiddenText) -> Float[Tensor, "targets vocabulary"]:
        """Score the vocabulary at the hidden positions of a text."""
        self.model.eval()
        logits: Tensor = self.model(
            text.input_ids, sequences=text.sequences, target_positions=text.target_positions
        )
        return logits
