"""What the README shows, runs: the Python of both languages, on a small model made here."""

import re
from pathlib import Path

import pytest

from plainformer.encoder import EncoderConfig, MaskedLM, SequenceClassifier
from plainformer.tokenizer import train_tokenizer
from tests.processes import ROOT, run_in_process


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
        (demo / "block.py").write_text(block, encoding="utf-8")
        code, printed = run_in_process(str(demo / "block.py"), [], folder=demo)
        assert code == 0, printed
        assert printed


def test_the_two_languages_keep_pace() -> None:
    english, chinese = (
        (ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh-CN.md")
    )
    for pattern in (r"^## ", r"^```", r"!\[", r"^plainformer [a-z]", r"^[a-z]+/ "):
        count = [len(re.findall(pattern, text, re.MULTILINE)) for text in (english, chinese)]
        assert count[0] == count[1], pattern
