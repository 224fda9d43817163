from pathlib import Path

import pytest

from plainformer.base import write_text
from plainformer.training import LoopConfig
from tests.pretrain import tiny

LABELS = ("tame", "wild")

TRAINING = LoopConfig(
    learning_rate=1e-2, seed=3, checkpoint_every=0, patience=0, eval_every=8, device="cpu"
)


@pytest.fixture(scope="package")
def few(tmp_path_factory) -> dict[str, str]:
    """Few labelled texts, others to validate on, and more without labels, some of them known."""
    folder: Path = tmp_path_factory.mktemp("few")
    texts = dict.fromkeys(tiny.sentences(1000))  # the 64 of the language
    every = [(text, LABELS[tiny.ANIMALS.index(text.split()[2]) < 4]) for text in texts]
    for split, some in (("train", every[:16]), ("valid", every[16:32])):
        lines = "".join(f"{text}\t{label}\n" for text, label in some)
        write_text(folder / f"{split}.tsv", "text\tlabel\n" + lines)
    write_text(folder / "texts.txt", "".join(f"{text}\n" for text, _ in every))
    return {path.stem: str(path) for path in folder.iterdir()}
