"""An encoder of 16 numbers for a sentence, and folders made of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import save_file

from plainformer.encoder import Encoder
from plainformer.tokenizer import Tokenizer, train_tokenizer
from tests.encoder.tools import bert, randomise
from tests.finetune.sentence_folders.files import SIZE, TEXTS, Files
from tests.pretrain import tiny


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """It keeps case, and takes 25 tokens."""
    tokenizer = train_tokenizer(
        [*[*TEXTS, "a question: passage"] * 20, *tiny.sentences(40)],
        vocab_size=200,
        lowercase=False,
    )
    tokenizer.max_length = 25
    return tokenizer


@pytest.fixture(scope="module")
def base(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder and its tokenizer, of which nothing more is declared."""
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer.save(folder)
    shape = bert(vocab_size=tokenizer.vocab_size, hidden_size=SIZE, num_hidden_layers=1)
    randomise(Encoder(shape)).save_pretrained(folder)
    return folder


@pytest.fixture
def make(base: Path, tmp_path: Path) -> Callable[..., Path]:
    """A folder with these files."""

    def make(files: Files, name: str = "declared", inside: str = "") -> Path:
        folder = tmp_path / name
        shutil.copytree(base, folder / inside)
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            if path.endswith(".safetensors"):
                save_file(content, folder / path)
            else:
                (folder / path).write_text(json.dumps(content))
        return folder

    return make
