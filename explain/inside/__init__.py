"""Look inside a model: where its heads attend, and which of them it needs.

predictor = open_model("runs/labels")
(found, *_) = attention_of(predictor, ["who wrote this?"])
found.weights[0, 3], found.tokens  # of the first layer, the fourth head

`probe.py` asks what each layer knows; `projection.py` draws texts in a plane; `neighbours.py` and
`influence.py` go back to the training examples. Each begins with its use.
"""

from plainformer.explain.inside.ablation import HeadAblation, ablate_heads
from plainformer.explain.inside.attention import SequenceAttention, attention_of, head_statistics
from plainformer.explain.inside.influence import Influence, influences
from plainformer.explain.inside.labelled import Labelled, read_labelled
from plainformer.explain.inside.neighbours import Neighbour, neighbours
from plainformer.explain.inside.opened import open_model
from plainformer.explain.inside.probe import Layer, probe_layers
from plainformer.explain.inside.projection import Projection, project
from plainformer.explain.inside.states import States, hidden_states
from plainformer.explain.inside.training import Shown, labelled_texts, training_of

__all__ = [
    "HeadAblation",
    "Influence",
    "Labelled",
    "Layer",
    "Neighbour",
    "Projection",
    "SequenceAttention",
    "Shown",
    "States",
    "ablate_heads",
    "attention_of",
    "head_statistics",
    "hidden_states",
    "influences",
    "labelled_texts",
    "neighbours",
    "open_model",
    "probe_layers",
    "project",
    "read_labelled",
    "training_of",
]
