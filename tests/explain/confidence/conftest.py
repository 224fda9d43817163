"""The folders of models, and rows to calibrate them on."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from plainformer.finetune.task_file import save_task
from tests.encoder.tools import randomise
from tests.explain.confidence.models import TOKENIZER, clear, labelled, tasks


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """The folder of a model with random weights, and rows that are labelled as it says at KNOWN."""
    root, found = tmp_path_factory.mktemp("calibrated"), tasks()

    def make(name: str) -> tuple[Path, Path]:
        run, file = root / name, root / f"{name}.jsonl"
        if not run.exists():
            task, model = found[name]
            clear(randomise(model)).save_pretrained(run)
            TOKENIZER.save(run)
            save_task(task, run)
            if name not in ("answers", "vectors"):
                rows = labelled(task, run, 600)
                file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        return run, file

    return make
