"""Tune few parameters: functions that freeze a model, and change it in place.

    add_lora(model, rank=8, targets=("query", "value"))

A file each. A method is a function `add_METHOD` and the modules that it puts into the model; they
say what they added (`added_parameters`), and, where they can be, how they are merged (`merged`).
"""

from plainformer.finetune.tuning.adalora import add_adalora
from plainformer.finetune.tuning.adapter import add_tensors, save_adapter
from plainformer.finetune.tuning.bitfit import train_biases
from plainformer.finetune.tuning.bottleneck import add_adapters
from plainformer.finetune.tuning.dora import add_dora
from plainformer.finetune.tuning.ia3 import add_ia3
from plainformer.finetune.tuning.layers import freeze_base
from plainformer.finetune.tuning.lora import add_lora
from plainformer.finetune.tuning.merge import merge_added
from plainformer.finetune.tuning.options import TuningOptions
from plainformer.finetune.tuning.prefix import add_prefix
from plainformer.finetune.tuning.rank_allocation import RankAllocator
from plainformer.finetune.tuning.several import average, load_adapters, mixed
from plainformer.finetune.tuning.soft_prompt import add_soft_prompt
from plainformer.finetune.tuning.trained import trained_parameters
from plainformer.finetune.tuning.unfreeze import unfreeze_gradually

__all__ = [
    "RankAllocator",
    "TuningOptions",
    "add_adalora",
    "add_adapters",
    "add_dora",
    "add_ia3",
    "add_lora",
    "add_prefix",
    "add_soft_prompt",
    "add_tensors",
    "average",
    "freeze_base",
    "load_adapters",
    "merge_added",
    "mixed",
    "save_adapter",
    "train_biases",
    "trained_parameters",
    "unfreeze_gradually",
]
