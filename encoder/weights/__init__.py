"""Save and load models as folders of Hugging Face: `config.json` and `model.safetensors`.

A family of models is a file of tables (`bert.py`, `roberta.py` …) of config fields and tensor
names, read in both directions (`family.py`); `model_type` in `config.json` names it.
"""

from plainformer.encoder.weights.adapter import (
    Adapter,
    is_adapter,
    read_config,
    tokenizer_folder,
)
from plainformer.encoder.weights.added import load_added, save_added
from plainformer.encoder.weights.families import FAMILIES, family_of, named_architectures
from plainformer.encoder.weights.family import headed
from plainformer.encoder.weights.folder import find, read_tensors
from plainformer.encoder.weights.labels import read_labels
from plainformer.encoder.weights.load import AddTensors, load
from plainformer.encoder.weights.save import save

__all__ = [
    "FAMILIES",
    "Adapter",
    "AddTensors",
    "family_of",
    "find",
    "headed",
    "is_adapter",
    "load",
    "load_added",
    "named_architectures",
    "read_config",
    "read_labels",
    "read_tensors",
    "save",
    "save_added",
    "tokenizer_folder",
]
