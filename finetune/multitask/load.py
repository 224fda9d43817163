"""Load the heads of a folder that `plainformer multitask` wrote, on one encoder.

predictors = load_several("runs/several")
predictors["names"](["Ada met Charles."])
"""

from pathlib import Path

import torch
from torch import Tensor

from plainformer.base import Fields, Inference, UserError, find_folder, read_json
from plainformer.finetune.ensemble import Finetuned
from plainformer.finetune.multitask.several_heads import SeveralHeads
from plainformer.finetune.placement import Placement
from plainformer.finetune.prediction.predictor import Predictor

TASKS_FILE = "tasks.json"
"""The file that names the tasks, beside their folders."""


def load_several(folder: str | Path, device: str = "auto") -> dict[str, Predictor]:
    """Load every head, by the name of its task; all compute with the same encoder.

    Raises `UserError` for a folder without several heads, and for heads that were trained on
    different encoders.
    """
    placement = Placement.of(Inference(device))
    folder = find_folder(folder)
    if not (folder / TASKS_FILE).is_file():
        raise UserError(
            f"{folder} holds no {TASKS_FILE}: `plainformer multitask` makes such a folder"
        )
    names = list(Fields(read_json(folder / TASKS_FILE), folder / TASKS_FILE).values)
    found = {name: Finetuned.load(folder / name) for name in names}
    state: dict[str, Tensor] = {}
    for name, one in found.items():
        own = one.model.base.state_dict()
        if not all(torch.equal(state[key], own[key]) for key in state.keys() & own.keys()):
            raise UserError(
                f"{folder}: {name} has another encoder than {names[0]}: load each head alone, by "
                "its own folder"
            )
        state |= own
    model = SeveralHeads({name: one.model for name, one in found.items()})
    placement.prepare(model)
    return {name: Predictor(one.task, one.model, one.tokenizer) for name, one in found.items()}
