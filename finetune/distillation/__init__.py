"""Distil a fine-tuned model into a smaller one: learn its predictions beside the labels.

    teacher = load_teacher(["runs/large"], task, config)
    objective = distil(task_objective(task), teacher, weight=0.5, temperature=2.0)

`distillation` makes this of the options of a run, with a projection for the hidden states where
they have another size than the teacher's.
"""

from plainformer.finetune.distillation.distil import distil, distillation
from plainformer.finetune.distillation.hidden import (
    add_projection,
    hidden_distance,
    hidden_states,
    remove_projection,
)
from plainformer.finetune.distillation.options import DistillationOptions
from plainformer.finetune.distillation.teacher import Teacher, check_teachers, load_teacher

__all__ = [
    "DistillationOptions",
    "Teacher",
    "add_projection",
    "check_teachers",
    "distil",
    "distillation",
    "hidden_distance",
    "hidden_states",
    "load_teacher",
    "remove_projection",
]
