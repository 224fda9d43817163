"""Fine-tune a pruned model, as it stands, on labelled examples."""

from pathlib import Path

import torch

from plainformer.deploy.shrink.options import ShrinkOptions
from plainformer.deploy.shrink.prune import keep_zeros
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.config import FinetuneConfig
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.fit import fit_batches, multipliers_of
from plainformer.finetune.micro_batches import micro_batches
from plainformer.finetune.robust import robust_objective
from plainformer.finetune.task import AnyTask
from plainformer.training import LoopConfig, by_items


def train_pruned(
    model: PretrainedModel,
    task: AnyTask,
    items: list[Item],
    options: ShrinkOptions,
    folder: Path,
    quiet: bool = False,
) -> None:
    """Train `model` in place; the log of the training goes to `folder`."""
    loop = LoopConfig(
        learning_rate=options.learning_rate, eval_every=0, checkpoint_every=0, seed=options.seed
    )
    config = FinetuneConfig(
        model=folder,
        train=str(options.train),
        out=folder,
        epochs=options.epochs,
        batch_size=min(options.batch_size, len(items)),
        training=loop,
    )
    order = by_items(len(items), config.batch_size, seed=options.seed)

    def batches(step: int) -> list[Batch[Item]]:
        (chosen,) = order(step)
        return micro_batches([items[i] for i in chosen], 1)

    torch.manual_seed(options.seed)
    fit_batches(
        model,
        robust_objective(task, config.robust),
        batches,
        order.steps(epochs=1),
        config,
        multipliers_of(model, config, quiet),
        None,
        task.monitor,
        quiet,
        before_step=keep_zeros(model) if options.zeros else None,
    )
    model.eval()
