"""Whatever ends a pretraining run before its time, it is resumed as if nothing had been."""

import resource
from contextlib import contextmanager
from dataclasses import replace

import pytest

from plainformer.base import UserError
from plainformer.pretrain import PretrainConfig, pretrain
from plainformer.training import TrainingConfig
from tests.pretrain import tiny
from tests.processes import ROOT, run_in_process

FILES = "model.safetensors", "log.jsonl", "metrics.json"


@pytest.fixture(scope="module")
def whole(one_thread, tmp_path_factory) -> PretrainConfig:
    """A run of seven steps that nothing has stopped."""
    folder = tmp_path_factory.mktemp("survival")
    (folder / "toy.txt").write_text("\n".join(tiny.sentences(500)))
    tiny.make_tokenizer().save(folder / "tokenizer")
    config = PretrainConfig(
        corpus=(str(folder / "toy.txt"),),
        tokenizer=folder / "tokenizer",
        out=folder / "run",
        preset=tiny.PRESET,
        max_length=32,
        batch_tokens=512,
        valid_share=0.1,
        training=TrainingConfig(steps=7, eval_every=3, checkpoint_every=2),
    )
    pretrain(config, quiet=True)
    return config


@contextmanager
def files_up_to(size: int):
    """A limit on the size of files: the portable way to run out of space in earnest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def sizes(config: PretrainConfig) -> dict[str, int]:
    files = [path for path in config.out.rglob("*") if path.is_file()]
    return {str(path.relative_to(config.out)): path.stat().st_size for path in files}


def test_a_full_disk_at_any_moment(whole, tmp_path):
    """The run gets as far as the largest file that still fits, and from there it goes on."""
    found = sorted({size - 1 for size in sizes(whole).values() if size > 1})
    chosen = [found[len(found) * i // 6] for i in range(6)] + [found[-1]]
    out = replace(whole, out=tmp_path / "run", resume=True)
    for limit in chosen:
        fault = "no space left|cannot write the token shard"
        with files_up_to(limit), pytest.raises(UserError, match=fault) as error:
            pretrain(out, quiet=True)
        assert "\n" not in str(error.value)
    pretrain(out, quiet=True)
    for name in FILES:
        assert (whole.out / name).read_bytes() == (out.out / name).read_bytes(), name
    assert sizes(whole).keys() == sizes(out).keys(), "nothing half-written is left behind"


def soak(*options: str) -> None:
    code, output = run_in_process(str(ROOT / "benchmarks" / "soak.py"), options)
    assert code == 0, output
    assert "are the same, byte for byte" in output


@pytest.mark.parametrize(
    ("kills", "processes"),
    [
        (3, 1),
        (2, 2),
        pytest.param(50, 1, marks=pytest.mark.slow),
        pytest.param(50, 2, marks=pytest.mark.slow),
    ],
)
def test_random_kills(kills, processes):
    soak("--kills", str(kills), "--processes", str(processes))
