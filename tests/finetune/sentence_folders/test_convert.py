"""An old folder with pickled weights is converted with all of its modules."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from plainformer.base import UserError
from plainformer.encoder.weights.convert import convert
from plainformer.finetune import Embedder
from tests.finetune.sentence_folders.files import (
    FOUR,
    SIZE,
    TEXTS,
    dense,
    mode,
    modules,
    pooled,
    prompts,
)
from tests.finetune.sentence_folders.reference import close, theirs


@pytest.mark.parametrize("first", ["", "0_Transformer"])
@pytest.mark.parametrize("whole", [True, False], ids=["a pickled Dense", "all pickled"])
def test_convert_takes_the_modules_along(
    first: str, whole: bool, make: Callable[..., Path], tmp_path: Path
) -> None:
    files = pooled("Dense", "Normalize", **mode("cls")) | dense(SIZE, 8, bias=False)
    files |= prompts("query") | {"modules.json": modules(*FOUR, first=first)}
    files |= {f"{first or '.'}/sentence_bert_config.json": {"max_seq_length": 9}}
    folder = make(files, inside=first)
    wanted = theirs(folder)
    shutil.copytree(folder, tmp_path / "pickled")
    for place in ("2_Dense",) if whole else ("2_Dense", first):
        path = tmp_path / "pickled" / place / "model.safetensors"
        torch.save(load_file(path), path.with_name("pytorch_model.bin"))
        path.unlink()
    with pytest.raises(UserError, match=r"2_Dense/model.safetensors is missing \(plainformer conv"):
        Embedder.load(tmp_path / "pickled")
    convert(tmp_path / "pickled", tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.bin"))
    close(Embedder.load(tmp_path / "out")(TEXTS), wanted)
    close(theirs(tmp_path / "out"), wanted)
