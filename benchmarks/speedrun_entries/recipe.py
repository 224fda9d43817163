"""The baseline of the speedrun: the recipe of `time_to_loss.py`, until it meets the target."""

from dataclasses import replace

from jaxtyping import Float
from speedrun import HiddenText
from time_to_loss import RECIPE, Material, build
from torch import Tensor

from plainformer.training.optimizer import build_optimizer
from plainformer.training.parallel import ModelCall
from plainformer.training.step import take_step

TOKENS = 0.55  # millions


class Entry:
    """A model of the recipe, in training."""

    def __init__(self, material: Material, seed: int) -> None:
        candidate = replace(RECIPE, tokens=TOKENS, seed=seed)
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
