"""What the README shows, runs: the Python of both languages, on a small model made here."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from plainformer.encoder import EncoderConfig, MaskedLM, SequenceClassifier
from plainformer.tokenizer import train_tokenizer

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `make demo` leaves, as small as can be."""
    folder = tmp_path_factory.mktemp("readme")
    texts = ["plain text of a sentence and its pair", "full of joy"] * 20
    tokenizer = train_tokenizer(texts, kind="wordpiece", vocab_size=60)
    shape = EncoderConfig.preset(
        "modern-tiny",
        vocab_size=tokenizer.vocab_size,
        pad_token_id=tokenizer.pad_id,
        num_hidden_layers=1,
    )
    run = folder / "runs" / "demo"
    for name, model in (
        ("pretrained", MaskedLM(shape)),
        ("classifier", SequenceClassifier(shape, labels=["adjective", "noun"])),
    ):
        model.save_pretrained(run / name)
        tokenizer.save(run / name)
    return folder


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_python_of_the_readme_runs(name: str, demo: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / name).read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 2
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-c", block],
            cwd=demo,
            env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_the_two_languages_keep_pace() -> None:
    english, chinese = (
        (ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh-CN.md")
    )
    for pattern in (r"^## ", r"^```", r"!\[", r"^plainformer [a-z]", r"^[a-z]+/ "):
        count = [len(re.findall(pattern, text, re.MULTILINE)) for text in (english, chinese)]
        assert count[0] == count[1], pattern
