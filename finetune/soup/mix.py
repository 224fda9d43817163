"""Mix a soup: the mean of the weights of several runs (Wortsman et al. 2022, arXiv:2203.05482).

    uniform    θ = 1/n Σ θᵢ over all runs
    greedy     from the best run down, add a run where the score of the mean does not fall

Runs that were fine-tuned from the same weights end in one wide valley of the loss, whose middle is
often better than its sides. A soup costs what one model costs. An ensemble (`ensemble.py`) averages
predictions instead, of any models of one task.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from plainformer.finetune.ensemble import Finetuned, mean_task
from plainformer.finetune.metrics import Metric, rankable

Measure = Callable[[Finetuned], Metric]
"""A function that measures a model on validation examples."""


@dataclass(frozen=True)
class Soup:
    """The mean of some runs."""

    model: Finetuned
    used: tuple[Path, ...]
    """The runs that it is the mean of; the best first, where they were measured."""
    scores: dict[Path, float] = field(default_factory=dict)
    """The main score of each run, the best first; empty where nothing was measured."""
    metric: Metric | None = None
    """The metric of the soup; None where nothing was measured."""


def uniform(members: Sequence[Finetuned]) -> Soup:
    """Mix all members."""
    return Soup(mean_weights(members), tuple(member.folder for member in members))


def greedy(members: Sequence[Finetuned], measure: Measure) -> Soup:
    """Mix the best member with those with which the main score does not fall."""
    metrics = {member.folder: measure(member) for member in members}
    scores = {folder: rankable(metric.main[1]) for folder, metric in metrics.items()}
    best, *others = sorted(members, key=lambda member: scores[member.folder], reverse=True)
    used, mixed, metric = [best], best, metrics[best.folder]
    for member in others:
        tried = mean_weights([*used, member])
        found = measure(tried)
        if rankable(found.main[1]) >= rankable(metric.main[1]):
            used, mixed, metric = [*used, member], tried, found
    ranked = {member.folder: scores[member.folder] for member in (best, *others)}
    return Soup(mixed, tuple(member.folder for member in used), ranked, metric)


@torch.no_grad()
def mean_weights(members: Sequence[Finetuned]) -> Finetuned:
    """Return the mean of the weights, and of the thresholds; the members stay as they are.

    Sums are in double precision: the mean of equal weights is these weights, bit for bit.
    """
    first = members[0]
    states = [member.model.state_dict() for member in members]
    model = copy.deepcopy(first.model)
    model.load_state_dict(
        {
            name: torch.stack([state[name].double() for state in states]).mean(0)
            for name in states[0]
        }
    )
    return replace(first, task=mean_task(members), model=model)
