"""A folder with a small BERT in it."""

from pathlib import Path

import pytest

from plainformer.encoder import Encoder
from tests.encoder.tools import bert, randomise


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    randomise(Encoder(bert())).save_pretrained(tmp_path / "model")
    return tmp_path / "model"
