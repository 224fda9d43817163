"""The vectors that sentence-transformers itself gives."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.finetune.sentence_folders.files import TEXTS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    sentence_transformers = pytest.importorskip("sentence_transformers")


def theirs(folder: Path, texts: Any = TEXTS, **options: Any) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    vectors: np.ndarray = model.encode(texts, show_progress_bar=False, **options)
    return vectors


def close(ours: np.ndarray, other: np.ndarray) -> None:
    assert ours.dtype == np.float32
    scale = max(1, np.abs(other).max())
    np.testing.assert_allclose(ours, other, atol=1e-5 * scale)
