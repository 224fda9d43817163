"""Read and write a table of static token vectors, as the StaticEmbedding of sentence-transformers.

    model.safetensors    embedding.weight, (tokens, size): row i is the vector of token i

There is no config.json: `model2vec`, too, then reads the folder as one of sentence-transformers.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor

from plainformer.base import UserError, atomic_path
from plainformer.base.tensors import save_tensors
from plainformer.encoder.weights.folder import mapped

FILE = "model.safetensors"
NAMES = ("embedding.weight", "embeddings")
"""The name of the table as sentence-transformers writes it, and as model2vec does."""


def read_table(folder: Path) -> Float[Tensor, "tokens size"]:
    """Read the table in `folder`, in single precision.

    Raises `UserError` for a file that is missing, damaged, or holds anything else.
    """
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{path} is missing: it holds the vectors of the tokens")
    tensors = mapped(path)
    name = next((name for name in NAMES if name in tensors), NAMES[0])
    for other in sorted(tensors.keys() ^ {name}):
        is_missing = other == name
        hint = "" if is_missing else ": vectors that share rows or have weights are not supported"
        raise UserError(f"{path}: {other} is {'missing' if is_missing else 'unexpected'}{hint}")
    table = tensors[name]
    if table.dim() != 2 or not table.is_floating_point() or 0 in table.shape:
        raise UserError(
            f"{path}: {name} has dtype {table.dtype} and shape {list(table.shape)}, and is no "
            "table of vectors"
        )
    if not table.isfinite().all():
        raise UserError(f"{path}: {name} holds NaN or infinite numbers: take another copy")
    return table.to(torch.float32, copy=True)


def write_table(table: Float[Tensor, "tokens size"], folder: Path) -> None:
    """Write a table to `folder`; raise `UserError` where that fails."""
    try:
        with atomic_path(folder / FILE) as temporary:
            save_tensors({NAMES[0]: table.detach().cpu().contiguous()}, temporary)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write the vectors to {folder}: {error}") from None
