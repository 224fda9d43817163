"""One training loop for both stages: it knows no model and no tokenizer, only an objective.

objective(model, batch) -> Loss      what is learned
batches(step) -> [batch, ...]        from what: a pure function of (seed, step)
train(model, objective, batches, config, out)
"""

from training.checkpoint import full_disk
from training.config import TrainingConfig
from training.curve import curve_figure
from training.device import autocast, choose_device, number_format
from training.distributed import (
    is_main,
    main_first,
    of_main,
    processes,
    share,
    summed,
    world_size,
)
from training.evaluation import evaluate
from training.loop import Result, train
from training.memory import available_memory, least_memory
from training.objective import Batch, Batches, Flops, Loss, Objective
from training.optimizer import Shares
from training.options import run_folder, save_options, saved_options
from training.order import Order, Replay, by_items, by_tokens
from training.pace import seconds_per_step
from training.peak import peak_flops
from training.schedule import learning_rate
from training.shuffle import Shuffle

__all__ = [
    "Batch",
    "Batches",
    "Flops",
    "Loss",
    "Objective",
    "Order",
    "Replay",
    "Result",
    "Shares",
    "Shuffle",
    "TrainingConfig",
    "autocast",
    "available_memory",
    "by_items",
    "by_tokens",
    "choose_device",
    "curve_figure",
    "evaluate",
    "full_disk",
    "is_main",
    "learning_rate",
    "least_memory",
    "main_first",
    "number_format",
    "of_main",
    "peak_flops",
    "processes",
    "run_folder",
    "save_options",
    "saved_options",
    "seconds_per_step",
    "share",
    "summed",
    "train",
    "world_size",
]
