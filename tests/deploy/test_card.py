"""Cards are read by the hub's own reader, and say only what the files of a run say."""

import io
import json
import re
import shlex
import shutil
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from markdown_it import MarkdownIt

from plainformer.base import UserError, read_json
from plainformer.commands import evaluate, finetune, pretrain, soup
from plainformer.deploy.card import CARD, Facts, card_text, write_card
from plainformer.deploy.card.front_matter import as_yaml
from plainformer.deploy.card.loading import EXPORTED, loadings, other_loading, own_loading
from plainformer.deploy.card.text import code, plain, table
from plainformer.deploy.card.write import front_of, is_ours, with_fields
from plainformer.encoder import Encoder, SentenceEncoder, SequenceClassifier, TokenClassifier
from plainformer.encoder.static import StaticEncoder
from plainformer.encoder.weights.save import save
from plainformer.encoder.weights.sentence_layout import SentenceLayout
from plainformer.encoder.weights.storage import Storage
from plainformer.finetune import FinetuneConfig, Predictor
from plainformer.finetune.tasks.tagging.crf import ChainTagger
from plainformer.finetune.tuning import add_lora, save_adapter
from plainformer.options import parse
from tests.deploy.server.conftest import runs  # noqa: F401
from tests.pretrain import tiny

hub = pytest.importorskip("huggingface_hub")
transformers = pytest.importorskip("transformers")

NASTY = 'a "b": c|d `e`\n- f'
TASKS = ["labels", "topics", "links", "words", "score", "choice", "entities", "answers", "vectors"]


def run_lines(lines: str, folder: Path) -> dict[str, Any]:
    """Execute the lines of a card on a folder."""
    names: dict[str, Any] = {}
    with redirect_stdout(io.StringIO()):
        exec(lines.replace("USER/NAME", str(folder)), names)
    return names


@pytest.mark.parametrize("name", TASKS)
def test_the_lines_of_each_task_open_its_folder(name: str, runs, tmp_path: Path) -> None:  # noqa: F811
    facts = Facts.of(runs[name])
    own, other = own_loading(facts), other_loading(facts)
    run_lines(own.code, runs[name])
    assert other is not None
    theirs = run_lines(other.code, runs[name])["model"]
    wanted = "sentence-transformers" if name == "vectors" else "transformers"
    assert (own.library, other.library) == ("plainformer", wanted)
    assert name == "vectors" or type(theirs).__name__ == facts.config["architectures"][0]
    card = hub.ModelCard(card_text(facts))
    assert card.data.library_name == wanted
    assert card.data.pipeline_tag
    assert card.data.license is card.data.language is card.data.base_model is None
    assert "not been measured" in card.text
    if name == "labels":
        (prediction,) = Predictor.load(runs[name])(["the red cat"])
        tokens = transformers.AutoTokenizer.from_pretrained(runs[name])("the red cat")
        logits = theirs(torch.tensor([tokens["input_ids"]])).logits
        found = [prediction.probabilities[label] for label in facts.labels]
        torch.testing.assert_close(torch.tensor([found]), logits.softmax(-1), atol=1e-6, rtol=0)


@pytest.fixture(scope="module")
def run(models, files, tmp_path_factory) -> Path:
    """A run on a file and with labels of a difficult name, and its evaluation."""
    root = tmp_path_factory.mktemp("card")
    shown = {"bird": NASTY, "beast": "¿qué?"}
    for split, name in (("train", f"{NASTY}.jsonl"), ("test", "test.jsonl")):
        lines = [line.split("\t") for line in Path(files(split)).read_text().splitlines()[1:60]]
        rows = [json.dumps({"text": text, "label": shown[label]}) for text, label in lines]
        (root / name).write_text("\n".join(rows) + "\n")
    out = root / "out"
    line = ["--model", str(models["bert"]), "--train", str(root / f"{NASTY}.jsonl")]
    line += ["--out", str(out), "--epochs", "0.1", "--max-length", "12", "--valid-share", "0.5"]
    with redirect_stdout(io.StringIO()):
        finetune.run(line)
        evaluate.run([str(out), "--data", str(root / "test.jsonl")])
    return out


def test_the_card_of_a_run_holds_its_scores(run: Path) -> None:
    fields = hub.metadata_load(run / CARD)
    assert fields["library_name"] == "transformers"
    assert fields["pipeline_tag"] == "text-classification"
    assert fields["metrics"] == ["accuracy", "f1", "precision"]
    unknown = {"license", "language", "base_model", "datasets"}
    assert not unknown & fields.keys()
    results = hub.ModelCard.load(run / CARD).data.eval_results
    of_run = read_json(run / "metrics.json")["valid"]
    tested = read_json(run / "evaluation-test.jsonl" / "metrics.json")
    for name, saved in ((f"{NASTY}.jsonl", of_run), ("test.jsonl", tested)):
        found = {r.metric_name: r.metric_value for r in results if r.dataset_name == name}
        assert found["accuracy"] == saved["accuracy"]
        assert found["macro F1"] == saved["macro_f1"]


def test_the_card_of_a_run_is_readable_and_private(run: Path) -> None:
    text = (run / CARD).read_text(encoding="utf-8")
    assert str(run.parent) not in text and run.parent.name not in text
    body = MarkdownIt("commonmark").enable("table").parse(hub.ModelCard(text).text)
    headings = [body[n + 1].content for n, token in enumerate(body) if token.type == "heading_open"]
    assert len(headings) == 5
    assert "On `test.jsonl`: 28 of 50 examples have a text that was trained on" in text
    tables, cells = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE), []
    assert len(tables) == 2
    for rows in tables:
        (html,) = re.findall("<table>.*</table>", MarkdownIt().enable("table").render(rows), re.S)
        counts = {len(re.findall("<t[hd]>", row)) for row in html.split("</tr>")[:-1]}
        assert len(counts) == 1
        cells += re.findall("<td><code>(.*?)</code>", html)
    assert ["a &quot;b&quot;: c|d `e` - f" in cell for cell in cells].count(True) == 2
    assert any(" 33 |" in row for row in tables[0].splitlines())  # the examples held out


def test_the_command_of_a_card_repeats_the_run(run: Path) -> None:
    text = (run / CARD).read_text(encoding="utf-8")
    (block,) = re.findall(r"^(`{3,})\n(plainformer finetune.*?)\n\1$", text, re.S | re.M)
    program, command, *words = shlex.split(block[1])
    config = parse(FinetuneConfig, "finetune", words)
    assert (program, command) == ("plainformer", "finetune")
    assert (config.epochs, config.max_length, config.valid_share) == (0.1, 12, 0.5)
    assert (config.out, config.model) == (Path("RUN"), Path("bert"))


def test_a_soup_says_of_what_it_is_the_mean(run: Path, tmp_path: Path) -> None:
    twin, out = tmp_path / "twin", tmp_path / "out"
    shutil.copytree(run, twin)
    with redirect_stdout(io.StringIO()):
        soup.run([str(run), str(twin), "--out", str(out), "--data", str(run.parent / "test.jsonl")])
    card = (out / CARD).read_text()
    assert "averaged the weights of 2 runs" in card
    trained, mixed = re.findall(r"^plainformer .*$", card, re.MULTILINE)[-2:]
    assert trained.startswith("plainformer finetune")
    assert mixed == "plainformer soup RUN twin --data test.jsonl --out DIR"
    score = json.loads((out / "metrics.json").read_text())["valid"]["accuracy"]
    assert f"{score:.4f}" in card
    assert str(tmp_path) not in card


def test_a_card_that_was_edited_is_kept(run: Path, tmp_path: Path, capsys) -> None:
    facts = Facts.of(run)
    for name in ("config.json", "options.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    assert write_card(tmp_path, facts)
    written = (tmp_path / CARD).read_text(encoding="utf-8")
    assert is_ours(written) and write_card(tmp_path, facts)
    assert (tmp_path / CARD).read_text(encoding="utf-8") == written
    for edited in (written.replace("## Limits", "## My limits"), "# By hand\n", ""):
        (tmp_path / CARD).write_text(edited, encoding="utf-8")
        assert not write_card(tmp_path, facts)
        assert (tmp_path / CARD).read_text(encoding="utf-8") == edited
        assert "kept" in capsys.readouterr().err
    (tmp_path / CARD).write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="UTF-8"):
        write_card(tmp_path, facts)


def test_fields_are_added_before_those_that_are_there() -> None:
    card = as_yaml({"tags": ["a"]}) + "\n# Title\n"
    both = with_fields(card, {"license": "mit", "language": ["en", "no"]})
    assert front_of(both) == {"license": "mit", "language": ["en", "no"], "tags": ["a"]}
    assert with_fields(both, {"license": "mit"}) == both
    assert front_of(with_fields("# Title\n", {"license": "mit"})) == {"license": "mit"}
    with pytest.raises(UserError, match="license: mit already"):
        with_fields(both, {"license": "apache-2.0"})
    for broken in ("---\na: [\n---\n", "---\n- a\n---\n"):
        with pytest.raises(UserError, match="front matter"):
            front_of(broken)


def test_markdown_and_yaml_show_every_character() -> None:
    odd = "a|b `c` ``d`` *e* _f_ <g> [h](i) \\ # ~j~ $k$ &amp; ---"
    html = (
        MarkdownIt()
        .enable(["table", "strikethrough"])
        .render(table(["x", "y"], [[code(odd), plain(odd)]]))
    )
    shown = odd.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert f"<td><code>{shown}</code></td>\n<td>{shown}</td>" in html
    for value in (odd, NASTY, "no", "1.0", "2020-01-01", "ünïcode 我们", "'", "@x", "- y"):
        (loaded,) = yaml.safe_load_all(as_yaml({"name": value}).removesuffix("---\n"))
        assert loaded == {"name": value}


def test_transformers_is_named_where_it_opens_a_folder(models, tokenizer, tmp_path: Path) -> None:
    encoder = Encoder(tiny.shape("bert", tokenizer))
    model = SequenceClassifier(encoder, labels=("a", "b"))
    for name, storage in (("half", Storage("bf16")), ("int8", Storage(int8=True))):
        save(model, tmp_path / name, storage)
        tokenizer.save(tmp_path / name)
    SequenceClassifier(  # no family of `transformers` has such a shape
        Encoder(replace(tiny.shape("bert", tokenizer), positions="alibi")), labels=("a", "b")
    ).save_pretrained(tmp_path / "alibi")
    tokenizer.save(tmp_path / "alibi")
    found = {name: other_loading(Facts.of(tmp_path / name)) for name in ("half", "int8", "alibi")}
    assert found["int8"] is found["alibi"] is None
    assert found["half"] is not None
    run_lines(found["half"].code, tmp_path / "half")
    (tmp_path / "half" / "onnx").mkdir()
    (tmp_path / "half" / EXPORTED).touch()
    libraries = [one.library for one in loadings(Facts.of(tmp_path / "half"))]
    assert libraries == ["plainformer", "transformers", "onnx"]
    fields = hub.ModelCard(card_text(Facts.of(tmp_path / "half"))).data
    assert fields.library_name == "transformers" and "onnx" in fields.tags
    text = card_text(Facts.of(tmp_path / "alibi"))
    assert (
        "only Plainformer opens it" in text
        and hub.ModelCard(text).data.library_name == "plainformer"
    )

    add_lora(model, rank=2)
    save_adapter(model, tmp_path / "adapter", models["bert"])
    tokenizer.save(tmp_path / "adapter")
    facts = Facts.of(tmp_path / "adapter")
    assert other_loading(facts) is None  # its base model is in a folder of its author


def test_static_vectors(tokenizer, tmp_path: Path) -> None:
    table = StaticEncoder(torch.randn(tokenizer.vocab_size, 4))
    SentenceEncoder(table, SentenceLayout(is_static=True)).save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    own, other = loadings(Facts.of(tmp_path))
    assert other.library == "sentence-transformers"
    run_lines(own.code, tmp_path)
    run_lines(other.code, tmp_path)
    facts = Facts.of_made(tmp_path, tmp_path, "as a table", ["static", "RUN"], [], "So it was.")
    text = card_text(facts)
    assert f"{4 * tokenizer.vocab_size} parameters" in text and "So it was." in text
    assert f"plainformer static {tmp_path.name}\n" in text  # nothing of ours made it: no RUN


def test_a_tagger_with_a_crf_says_what_others_leave_out(tokenizer, tmp_path: Path) -> None:
    labels = ("O", "B-x", "I-x")
    tagger = ChainTagger(TokenClassifier(tiny.shape("bert", tokenizer), labels=labels))
    tagger.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    task = {"task": "tagging", "labels": labels, "decoding": "crf", "max_length": 16}
    (tmp_path / "task.json").write_text(json.dumps({**task, "overflow": "windows"}))
    text = card_text(Facts.of(tmp_path))
    assert "crf.safetensors" in text and "windows" in text


def test_pretraining(tokenizer, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n".join(tiny.sentences(200)))
    tokenizer.save(tmp_path / "tok")
    line = f"--corpus {tmp_path / 'text.txt'} --tokenizer {tmp_path / 'tok'} --preset bert-speck"
    line += f" --steps 2 --max-length 32 --batch-tokens 64 --workers 1 --out {tmp_path / 'run'}"
    line += " --valid-share 0.2"
    with redirect_stdout(io.StringIO()):
        pretrain.run(line.split())
    card = hub.ModelCard.load(tmp_path / "run" / CARD)
    assert card.data.pipeline_tag == "fill-mask"
    held_out = read_json(tmp_path / "run" / "metrics.json")["held_out"]
    found = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert found["loss"] == held_out["loss"] and found["perplexity"] == held_out["perplexity"]
    assert "--preset bert-speck" in card.text and str(tmp_path) not in card.text
    lines = other_loading(Facts.of(tmp_path / "run"))
    assert lines is not None and "AutoModelForMaskedLM" in lines.code
    run_lines(lines.code, tmp_path / "run")
    run_lines(own_loading(Facts.of(tmp_path / "run")).code, tmp_path / "run")
