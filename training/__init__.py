"""The training loop of both stages, for any model that an objective turns into a loss.

objective(model, batch) -> Loss      the loss to minimise
batches(step) -> [batch, ...]        the data: a pure function of (seed, step)
train(model, objective, batches, config, out)
"""

from plainformer.training.checkpoint import full_disk, has_checkpoint
from plainformer.training.config import LoopConfig, TrainingConfig, refuse_unread
from plainformer.training.curve import curve_figure
from plainformer.training.device import (
    autocast,
    choose_device,
    format_name,
    number_format,
    training_device,
)
from plainformer.training.distributed import (
    all_reduce_sum,
    broadcast_from_main,
    distributed_map,
    is_main,
    local_indices,
    main_first,
    processes,
    world_size,
)
from plainformer.training.evaluation import evaluate
from plainformer.training.loop import Result, train
from plainformer.training.memory import available_memory, least_memory
from plainformer.training.objective import Batch, Batches, Flops, Loss, Objective, TrainingObjective
from plainformer.training.optimizer import LearningRateMultipliers, state_size
from plainformer.training.options import PLAN, run_folder, save_options, saved_options
from plainformer.training.peak import peak_flops
from plainformer.training.sampler import Order, Replay, by_items, by_tokens
from plainformer.training.schedule import learning_rate
from plainformer.training.shuffle import Shuffle
from plainformer.training.step_time import seconds_per_step
from plainformer.training.trackers import refuse_missing_trackers
from plainformer.training.weighted_sum import Term, weighted_sum

__all__ = [
    "PLAN",
    "Batch",
    "Batches",
    "Flops",
    "LearningRateMultipliers",
    "LoopConfig",
    "Loss",
    "Objective",
    "Order",
    "Replay",
    "Result",
    "Shuffle",
    "Term",
    "TrainingConfig",
    "TrainingObjective",
    "all_reduce_sum",
    "autocast",
    "available_memory",
    "broadcast_from_main",
    "by_items",
    "by_tokens",
    "choose_device",
    "curve_figure",
    "distributed_map",
    "evaluate",
    "format_name",
    "full_disk",
    "has_checkpoint",
    "is_main",
    "learning_rate",
    "least_memory",
    "local_indices",
    "main_first",
    "number_format",
    "peak_flops",
    "processes",
    "refuse_missing_trackers",
    "refuse_unread",
    "run_folder",
    "save_options",
    "saved_options",
    "seconds_per_step",
    "state_size",
    "train",
    "training_device",
    "weighted_sum",
    "world_size",
]
