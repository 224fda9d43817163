"""Learn tasks one after the other, and forget little of the earlier ones.

    continual(ContinualConfig(Path("minilm"), Path("tasks.toml"), Path("runs/sequence")))

    pull = ElasticPull().after(model, fisher(task, model, items))              # EWC, after a task
    pull.add_gradient(model, strength=1e5)                                     # in the next one
    objective = lwf(objective, {"old": task}, old_model)                       # LwF
    order = Replayed("new", {"old": few_items, "new": new_items}, share=0.1)   # replay

A method has a file. Without one, a sequence is plain fine-tuning of what the task before left.
`step.py` learns one task, `run.py` all of them, and `scores.py` says what was forgotten.
"""

from plainformer.finetune.continual.config import ContinualConfig
from plainformer.finetune.continual.ewc import ElasticPull, fisher
from plainformer.finetune.continual.lwf import lwf
from plainformer.finetune.continual.options import ContinualOptions
from plainformer.finetune.continual.replay import Replayed, buffer
from plainformer.finetune.continual.run import continual
from plainformer.finetune.continual.scores import SequenceScores

__all__ = [
    "ContinualConfig",
    "ContinualOptions",
    "ElasticPull",
    "Replayed",
    "SequenceScores",
    "buffer",
    "continual",
    "fisher",
    "lwf",
]
