"""Fine-tune one encoder for several tasks at once.

    multitask(MultitaskConfig(Path("minilm"), Path("tasks.toml"), Path("runs/several")))
    predictors = load_several("runs/several")

A file each: `several_heads.py`, the model; `sampling.py`, the task of each step; `folder.py`, how
the heads are saved; `load.py`; `config.py`, the settings and the file of the tasks; `data.py`, the
examples, the loss and the scores of each task; `run.py`, a run; `outcome.py`, what it leaves.
"""

from plainformer.finetune.multitask.config import MultitaskConfig
from plainformer.finetune.multitask.folder import save_heads
from plainformer.finetune.multitask.load import load_several
from plainformer.finetune.multitask.outcome import SeveralOutcome
from plainformer.finetune.multitask.run import multitask
from plainformer.finetune.multitask.sampling import TaskOrder, probabilities
from plainformer.finetune.multitask.several_heads import SeveralHeads

__all__ = [
    "MultitaskConfig",
    "SeveralHeads",
    "SeveralOutcome",
    "TaskOrder",
    "load_several",
    "multitask",
    "probabilities",
    "save_heads",
]
