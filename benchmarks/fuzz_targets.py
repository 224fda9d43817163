"""Define the fuzz targets: a valid folder, the files to damage, and the function that reads them.

`make` builds all of them from a few sentences.
"""

import contextlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from fuzz_material import TEXTS, make_models, make_run, make_tokenizers

from plainformer.base import UserError, from_json, read_json, write_json
from plainformer.encoder.weights.convert import convert
from plainformer.finetune import TASKS, Embedder, FinetuneConfig, Predictor, evaluate_folder
from plainformer.finetune.prediction.inputs import arriving_rows, file_rows
from plainformer.options import load
from plainformer.pretrain import Corpus, PretrainConfig, check_corpus, prepare_corpus, read_shards
from plainformer.runs import differing_options, find_runs, why_not_comparable
from plainformer.tokenizer import Tokenizer, load_tokenizer
from plainformer.training import TrainingConfig, saved_options
from plainformer.training.checkpoint import SUMS, Checkpoints, _checksums
from plainformer.training.curve import curve_figure
from plainformer.training.optimizer import build_optimizer

ASKED = ["the red cat eats", "an owl <e1> fish", "", "naïve 猫 ! [MASK] x", "hen " * 100]


@dataclass(frozen=True)
class Target:
    """A kind of input from outside: files, and the function that reads them."""

    folder: Path
    files: Sequence[str]
    """Globs of the files to damage."""
    read: Callable[[Path], object]
    weight: float = 1.0
    """The relative frequency with which the target is drawn."""
    prepare: Callable[[Path, random.Random], None] = lambda folder, rng: None
    """A function called after the damage, for example to correct checksums."""


def make(root: Path) -> dict[str, Target]:
    """Build every template below `root`, and return the targets by name."""
    torch.manual_seed(0)
    tokenizers = make_tokenizers(root)
    models = make_models(root, tokenizers["wordpiece"])
    targets = {
        f"tokenizer {name}": Target(root / "tokenizers" / name, ["*"], read_tokenizer, 2)
        for name in tokenizers
    }
    every = ["config.json", "*.safetensors", "*.index.json", "*.txt", "*token*.json", "1_*/*.json"]
    every += ["modules.json", "sentence_*.json"]
    for name, folder in models.items():
        targets[f"model {name}"] = Target(folder, every, read_model, 1)
    run = make_run(root, models["bert"])
    files = ["task.json", "config.json", "*.safetensors", "*token*.json"]
    targets["predictor"] = Target(run, ["task.json", *files], read_predictor, 2)
    targets["evaluate"] = Target(
        root / "evaluate",
        ["run/*.json", "run/log.jsonl", "run/*.safetensors", "rows.csv"],
        evaluate,
    )
    targets["runs"] = Target(run, ["*.json", "*.jsonl"], read_runs, 1)
    targets["checkpoints"] = Target(
        run, ["checkpoints/*/state.json", "checkpoints/*/*"], restore_of(run), 1, repair_sums
    )
    targets |= make_rows(root) | make_corpus(root, tokenizers["wordpiece"])
    targets["options"] = make_options(root)
    targets["convert"] = make_pickle(root, models["bert"])
    return targets


def make_rows(root: Path) -> dict[str, Target]:
    """Write labelled rows of every format."""
    import pyarrow
    from pyarrow import parquet

    folder = root / "rows"
    folder.mkdir()
    labelled = [{"text": t, "label": "ab"[i % 2], "id": i} for i, t in enumerate(TEXTS[:6])]
    parquet.write_table(pyarrow.Table.from_pylist(labelled), folder / "a.parquet")
    for suffix, mark in ((".csv", ","), (".tsv", "\t")):
        lines = [mark.join(labelled[0]), *(mark.join(map(str, r.values())) for r in labelled)]
        (folder / f"a{suffix}").write_text("\n".join(lines) + "\n")
    many: dict[str, list[dict[str, Any]]] = {
        "classification": labelled,
        "multi-label": [{"text": t, "labels": ["a", "b"][: i % 3]} for i, t in enumerate(TEXTS)],
        "regression": [{"text": t, "score": i / 2} for i, t in enumerate(TEXTS[:6])],
        "multiple-choice": [{"text": t, "options": ["x", "y"], "label": 1} for t in TEXTS[:4]],
        "sentence-embedding": [{"text": t, "pair": t, "score": 1} for t in TEXTS[:4]],
        "relation": [{"text": t, "head": [4, 8], "tail": [9, 12], "label": "r"} for t in TEXTS[:4]],
        "tagging": [{"words": t.split(), "tags": ["O"] * len(t.split())} for t in TEXTS[:4]],
    }
    for name, rows in many.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text)
    (folder / "a.conll").write_text("the O\nred B-x\ncat I-x\n\nan O\nowl B-y\n")
    question = {
        "id": "1", "question": "who?", "answers": [{"text": "cat", "answer_start": 8}],
        "is_impossible": False,
    }  # fmt: skip
    paragraph = {"context": "the red cat eats", "qas": [question, question]}
    write_json(folder / "squad.json", {"data": [{"title": "t", "paragraphs": [paragraph]}]})
    (folder / "a.txt").write_text("\n".join(TEXTS))
    suffixes = (".csv", ".tsv", ".jsonl", ".parquet", ".conll", ".json", ".txt")
    return {f"rows {s}": Target(folder, [f"*{s}"], read_rows_of(s)) for s in suffixes}


def make_corpus(root: Path, tokenizer: Tokenizer) -> dict[str, Target]:
    """Prepare a corpus, and one that is interrupted halfway."""
    from plainformer.pretrain.corpus.manifest import UNFINISHED

    folder = root / "corpus"
    folder.mkdir()
    text = folder / "text.txt"
    text.write_text("\n".join(f"{t} {i}" for i, t in enumerate(TEXTS * 5)))
    tokenizer.save(folder / "tokenizer")
    manifest = prepare_again(folder, folder / "text.txt")
    begun = root / "begun"
    begun.mkdir()
    for file in folder.glob("shards/*.safetensors"):
        (begun / file.name).write_bytes(file.read_bytes())
    plan = json.dumps(manifest.provenance)
    portion = {
        "end": [0, 60], "read": manifest.read, "copies": manifest.copies, "empty": manifest.empty,
        "shards": [asdict(entry) for entry in manifest.shards],
    }  # fmt: skip
    (begun / UNFINISHED).write_text(f"{plan}\n{json.dumps(portion)}\n")
    return {
        "corpus": Target(
            folder, ["shards/*", "shards/manifest.json"], lambda f: read_corpus(f, text), 2
        ),
        "journal": Target(begun, ["*", "unfinished"], lambda f: take_up(f, manifest.provenance), 1),
    }


def make_options(root: Path) -> Target:
    """Write the options of both stages."""
    folder = root / "options"
    options: Mapping[str, Any] = {
        "p.json": PretrainConfig(("a.txt",), tokenizer=Path("t"), out=Path("o")),
        "f.json": FinetuneConfig(model=Path("m"), train="a", valid="b", out=Path("o")),
    }
    for name, config in options.items():
        write_json(folder / name, asdict(config))
    return Target(folder, ["*.json"], lambda path: read_options(path, options), 2)


def make_pickle(root: Path, model: Path) -> Target:
    """Save a model as a PyTorch pickle, whole and sharded."""
    from safetensors.torch import load_file

    folder = root / "pickle"
    for name in ("whole", "parts"):
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_bytes((model / "config.json").read_bytes())
    tensors = load_file(model / "model.safetensors")
    torch.save(tensors, folder / "whole" / "pytorch_model.bin")
    torch.save(tensors, folder / "parts" / "p1.bin")
    write_json(
        folder / "parts" / "pytorch_model.bin.index.json",
        {"weight_map": dict.fromkeys(tensors, "p1.bin")},
    )
    return Target(folder, ["*/*"], convert_both, 0.5)


def read_tokenizer(folder: Path) -> None:
    """Open a tokenizer, and encode texts, pairs and words."""
    tokenizer = load_tokenizer(folder)
    for text in ASKED:
        tokenizer.encode(text, max_length=16)
        tokenizer.encode(text, "a second", max_length=16)
        tokenizer.words(text)
    tokenizer.fingerprint()


def read_model(folder: Path) -> None:
    """Open a model, and embed texts."""
    Embedder.load(folder)(ASKED[:2])


def read_predictor(folder: Path) -> None:
    """Open a fine-tuned model, and predict."""
    predictor = Predictor.load(folder)
    for prediction in predictor(["the red cat", "an owl"]):
        json.dumps(prediction.to_json(), default=str)


def evaluate(folder: Path) -> None:
    """Measure a fine-tuned model, and write its report."""
    from plainformer.finetune.report.page import write_report

    evaluation = evaluate_folder(folder / "run", str(folder / "rows.csv"), quiet=True)
    write_report(folder / "out", evaluation, folder / "run", str(folder / "rows.csv"))


def read_runs(folder: Path) -> None:
    """List a run, compare it with itself, and sometimes draw its curve."""
    from plainformer.commands.runs import run

    for found in find_runs(folder):
        found.training_losses()
        found.clock()
        differing_options([found, found])
        why_not_comparable(found, found)
    drawn = len(list(folder.iterdir())) % 4 == 0
    run([str(folder), *(["--plot", str(folder / "a.png")] if drawn else [])])
    if drawn and (folder / "log.jsonl").exists():
        curve_figure(folder / "log.jsonl", "[/x]")


def restore_of(run: Path) -> Callable[[Path], None]:
    """Build a function that resumes from the checkpoints of a run."""
    (saved, *_) = sorted(run.glob("checkpoints/step-*/state.json"))
    training = from_json(TrainingConfig, read_json(saved)["settings"])
    options = load(FinetuneConfig, run / "options.json")

    def restore(folder: Path) -> None:
        model = TASKS["classification"].foreign(("a", "b"), 16).build(options)
        optimizer = build_optimizer(model, training)
        checkpoints = Checkpoints(folder / "checkpoints", model, optimizer, training)
        if checkpoints.restore() and (folder / "checkpoints" / "best").exists():
            checkpoints.restore_best()

    return restore


def repair_sums(folder: Path, rng: random.Random) -> None:
    """Correct the checksums in seven of ten cases, so that the content itself is read."""
    if rng.random() < 0.7:
        for checkpoint in (folder / "checkpoints").iterdir():
            if (checkpoint / SUMS).exists():
                (checkpoint / SUMS).write_text(_checksums(checkpoint))


def read_rows_of(suffix: str) -> Callable[[Path], None]:
    """Build a function that reads a file format with every task that accepts it."""

    def read(folder: Path) -> None:
        for file in sorted(folder.glob(f"*{suffix}")):
            for name, task in TASKS.items():
                if file.stem in TASKS and file.stem != name:
                    continue
                for labelled in (True, False):
                    quietly(lambda: [task.read(r, labelled) for r in file_rows(task, str(file))])  # noqa: B023
            with file.open("rb") as stream:
                quietly(lambda: [list(rows) for rows in arriving_rows(stream.read, file)])  # noqa: B023
            quietly(lambda: list(Corpus.of([str(file)], 0.1).texts("train")))  # noqa: B023

    return read


def quietly(read: Callable[[], object]) -> None:
    """Ignore a `UserError`."""
    with contextlib.suppress(UserError):
        read()


def prepare_again(folder: Path, text: Path) -> Any:
    """Prepare the corpus of a folder, in this process."""
    corpus = Corpus.of([str(text)], 0.2)
    tokenizer = load_tokenizer(folder / "tokenizer")
    return prepare_corpus(corpus, tokenizer, folder / "shards", workers=1, quiet=True)


def read_corpus(folder: Path, text: Path) -> None:
    """Map the shards of a corpus, verify their checksums, and prepare them again."""
    tokenizer = load_tokenizer(folder / "tokenizer")
    quietly(lambda: read_shards(folder / "shards", tokenizer, "train"))
    quietly(lambda: check_corpus(folder / "shards"))
    prepare_again(folder, text)


def take_up(folder: Path, plan: dict[str, Any]) -> None:
    """Resume an interrupted preparation of a corpus."""
    from plainformer.pretrain.corpus.manifest import Journal, is_prepared

    is_prepared(folder)
    Journal(folder, plan).begin(overwrite=len(list(folder.iterdir())) % 2 == 0)


def read_options(folder: Path, options: Mapping[str, Any]) -> None:
    """Read each options file, both as its own command and as another one."""
    for file in sorted(folder.glob("*.json")):
        for config in options.values():
            quietly(lambda: load(type(config), file))  # noqa: B023
        quietly(lambda: resume_of(file, options[file.name]))  # noqa: B023


def resume_of(file: Path, options: Any) -> None:
    """Compare options with those of a run."""
    run = file.parent / "run"
    run.mkdir(exist_ok=True)
    (run / "options.json").write_bytes(file.read_bytes())
    saved_options(options, run, resume=True, may_differ={"out"})


def convert_both(folder: Path) -> None:
    """Convert a folder of pickles, whole and sharded."""
    for name in ("whole", "parts"):
        quietly(lambda: convert(folder / name, folder / f"{name} out"))  # noqa: B023
