"""Prompts: the gap's logits are transformers', the template is never cut, and it learns."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import example as also
from hypothesis import given
from hypothesis import strategies as st

from plainformer.base import UserError
from plainformer.encoder import MaskedLM
from plainformer.finetune import FinetuneConfig, Predictor, PromptOptions, evaluate_folder, finetune
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.tasks.classification import ClassExample
from plainformer.finetune.tasks.prompt import Prompt, check_template, read_verbaliser, word_id
from plainformer.tokenizer import HuggingFace, SentencePiece, Tokenizer, train_tokenizer
from plainformer.training import LoopConfig
from tests.encoder.tools import randomise
from tests.finetune.conftest import config_of
from tests.pretrain import tiny

VERBALISER = "fish=cat,eggs=fox,bones=dog"
TEMPLATE = "{text} the food : [MASK] ."


def config(folder: Path, **changes) -> FinetuneConfig:
    given_ = {"model": folder, "train": "t", "valid": "v", "out": folder / "run"}
    both = {"template": TEMPLATE, "verbaliser": VERBALISER, "max_length": 48}
    return config_of(PromptOptions, **{**given_, **both, **changes})


def example(text: str, pair: str | None = None, label: str | None = None) -> ClassExample:
    return ClassExample(text=text, pair=pair, label=label, source="f:1")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """A tokenizer to which the words of the verbaliser are one token."""
    return train_tokenizer([*tiny.sentences(400), "the food : a cat ."], vocab_size=120)


@pytest.fixture(scope="module")
def models(tokenizer, tmp_path_factory) -> dict[str, Path]:
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    return {a: tiny.save_untrained(root / a, a, tokenizer) for a in ("bert", "modern")}


@pytest.fixture(scope="module", params=["wordpiece", "unigram", "bpe", "byte-level"])
def reader(request) -> Tokenizer:
    """Tokenizers of all kinds; the last goes on within the text as RoBERTa's does."""
    texts = [*tiny.sentences(300), "( a : food ) it was !", "猫 吃 鱼 : 好", *["the : ."] * 90]
    if request.param != "byte-level":
        size = 110 if request.param == "wordpiece" else 300
        return train_tokenizer(texts, kind=request.param, vocab_size=size)
    from tokenizers import AddedToken, pre_tokenizers, processors, trainers
    from tokenizers import Tokenizer as Backend
    from tokenizers.models import BPE

    backend = Backend(BPE(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    backend.train_from_iterator(texts, trainer)
    backend.add_special_tokens([AddedToken("[MASK]", lstrip=True)])
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return HuggingFace(json.loads(backend.to_str()), config={}, special_tokens={})


def task(tokenizer: Tokenizer, template: str = TEMPLATE, max_length: int = 48) -> Prompt:
    return Prompt(
        labels=("x", "y"),
        words=("fish", "corn"),
        word_ids=(5, 6),
        template=template,
        mask_id=tokenizer.mask_id,
        max_length=max_length,
    )


@pytest.mark.parametrize("architecture", ["bert", "modern"])
def test_answers_and_loss_are_those_of_transformers(tokenizer, models, tmp_path, architecture):
    """The softmax over the words alone, at the gap, of texts one by one."""
    from transformers import AutoModelForMaskedLM

    folder = tmp_path / "model"
    randomise(MaskedLM.from_pretrained(models[architecture])).save_pretrained(folder)
    tokenizer.save(folder)
    prompt = Prompt.fit(config(folder), [])
    assert prompt.labels == ("cat", "fox", "dog")
    some = [
        example(text, label=prompt.labels[i % 3]) for i, text in enumerate(tiny.sentences(6))
    ] + [example("the", label="dog")]
    batch = Batch.of([prompt.encode(e, tokenizer) for e in some])
    model = prompt.load(folder)
    theirs = AutoModelForMaskedLM.from_pretrained(folder).eval()
    ids = [tokenizer.id(word) for word in prompt.words]
    with torch.no_grad():
        outputs = prompt.outputs(model, batch)
        assert outputs.shape == (7, 3)
        loss, wanted = prompt.loss(outputs, batch), 0.0
        for e, said in zip(some, prompt.predict(outputs, batch), strict=True):
            row = tokenizer.batch([f"{e.text} the food : [MASK] ."])
            if architecture == "modern":
                del row["token_type_ids"]
            gap = (row["input_ids"][0] == tokenizer.mask_id).nonzero().item()
            p = theirs(**row).logits[0, gap, ids].double().softmax(-1)
            assert [said.probabilities[label] for label in prompt.labels] == pytest.approx(
                p.tolist(), abs=1e-5
            )
            wanted -= p[prompt.labels.index(e.label)].log().item()
    assert loss.items == 7 and loss.total.item() == pytest.approx(wanted, rel=1e-4)


def test_no_parameter_is_new(models):
    prompt = Prompt.fit(config(models["bert"]), [])
    model = prompt.build(config(models["bert"], dropout=0.3))
    assert isinstance(model, MaskedLM) and not model.newly_initialised
    assert model.config.hidden_dropout == 0.3
    theirs = MaskedLM.from_pretrained(models["bert"]).state_dict()
    assert all(torch.equal(theirs[name], p) for name, p in model.state_dict().items())


words = st.lists(
    st.sampled_from(["the", "cat", "[MASK]", "good", "猫", "(", "{pair}", "x"]), max_size=40
)


@given(
    words,
    words,
    st.sampled_from(
        [
            "{text} it was [MASK] .",
            "( [MASK] ) {text}",
            "[MASK] : {text}",
            "{pair} : {text} a [MASK] !",
            "{text} it was [MASK] . {pair}",
        ]
    ),
    st.integers(20, 40),
)
@also(["the", "[MASK]"] * 9, [], "{text} it was [MASK] .", 20)
def test_the_text_is_cut_and_never_the_template(reader, a, b, template, max_length):
    a, b = " ".join(a), " ".join(b)
    prompt = task(reader, template, max_length)
    pair = b if "{pair}" in template else None
    (encoding,) = prompt.encode(example(a, pair), reader).encodings
    assert len(encoding) <= max_length
    assert encoding.ids.count(reader.mask_id) == 1

    def bare(text: str) -> str:
        return "".join(text.split())

    literal = re.split(r"\{text\}|\{pair\}", template)
    whole = template.replace("{pair}", "\0").replace("{text}", a).replace("\0", b)
    full = reader.encode(whole, max_length=10_000)
    masks = a.count("[MASK]") + (b.count("[MASK]") if pair is not None else 0)
    assert encoding.dropped == len(full) - len(encoding)
    if len(full) - masks <= max_length:
        assert encoding.dropped == masks
    else:
        assert len(encoding) == max_length
    kept = "".join(whole[i] for i in sorted({i for s in encoding.offsets[1:-1] for i in range(*s)}))
    position = 0
    for part in literal:
        position = bare(kept).find(bare(part), position)
        assert position >= 0, (kept, part)
        position += len(bare(part))


def test_the_gap_is_found_beside_masks_of_the_text(tokenizer, models):
    """A text that says [MASK] gives the answer of the same text without."""
    prompt = Prompt.fit(config(models["modern"]), [])
    with_mask, without = (
        prompt.encode(example(text), tokenizer) for text in ("the [MASK] cat", "the cat")
    )
    assert with_mask.encodings[0].ids == without.encodings[0].ids
    assert with_mask.is_cut and not without.is_cut


def test_no_room_beside_the_template_is_said(tokenizer):
    with pytest.raises(UserError, match="max_length 9 leaves no room for text beside the template"):
        task(tokenizer, max_length=9).encode(example("the cat"), tokenizer)


def test_pairs_and_templates_belong_together(tokenizer):
    with pytest.raises(UserError, match=r"f:1: has a pair, and the template has no \{pair\}"):
        task(tokenizer).encode(example("a", "b"), tokenizer)
    with pytest.raises(UserError, match=r"f:1: a row has no pair, and the template has a \{pair\}"):
        task(tokenizer, "{text} [MASK] {pair}").encode(example("a"), tokenizer)
    with pytest.raises(UserError, match="the label 'z' is not among those the model learns: x, y"):
        task(tokenizer).encode(example("a", label="z"), tokenizer)


@pytest.mark.parametrize(
    "template",
    ["[MASK]", "{text}", "{text} [MASK] [MASK]", "{text} {text} [MASK]", "", "{pair} [MASK]"],
)
def test_a_template_has_one_text_and_one_gap(template):
    with pytest.raises(
        UserError, match=re.escape(f"the template {template!r} should have {{text}}")
    ):
        check_template(template)


def test_a_field_that_does_not_exist_is_named():
    with pytest.raises(UserError, match=r"; it has \{txt\}"):
        check_template("{txt} {text} [MASK]")
    check_template("{text} {pair} { } [MASK]")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "should be word=label"),
        ("good", "should be word=label"),
        ("good=,bad=b", "should be word=label"),
        ("=a,bad=b", "should be word=label"),
        ("good=a", "a single label"),
        ("good=a,fine=a", "two words for 'a'"),
    ],
)
def test_a_verbaliser_names_a_word_for_each_label(text, fault):
    with pytest.raises(UserError, match=fault):
        read_verbaliser(text)
    assert read_verbaliser(" good = very good, bad=a=b") == (("good", "bad"), ("very good", "a=b"))


def test_a_word_is_the_token_that_stands_in_the_gap(reader):
    """What the tokenizer makes of the sentence with the word in the gap has this token there."""
    known = "bl" if isinstance(reader, SentencePiece) else "the"  # one token of its vocabulary
    for template, word in (
        ("{text} it was [MASK] .", known),
        ("[MASK] {text}", known),
        ("{text} : [MASK]", known),
        ("{text}[MASK]", "s"),
    ):
        before, after = template.replace("{text}", "the 猫").split("[MASK]")
        with_word = reader.encode(before + word + after)
        (there,) = (
            id
            for id, (a, b) in zip(with_word.ids, with_word.offsets, strict=True)
            if a <= len(before) < b
        )
        assert word_id(reader, template, word) == there


def test_a_word_in_pieces_is_refused_with_its_pieces(tokenizer, models):
    with pytest.raises(
        UserError, match=r"'cats' of the verbaliser is not one token .* but cat ##s"
    ):
        Prompt.fit(config(models["bert"], verbaliser="cats=a,eggs=b"), [])
    with pytest.raises(UserError, match=r"'猫' of .* but \[UNK\]: choose another word"):
        Prompt.fit(config(models["bert"], verbaliser="猫=a,eggs=b"), [])
    with pytest.raises(UserError, match=r"'\[SEP\]' of the verbaliser is not one token"):
        Prompt.fit(config(models["bert"], verbaliser="[SEP]=a,eggs=b"), [])
    with pytest.raises(UserError, match="are the same token"):
        Prompt.fit(config(models["bert"], verbaliser="eggs=a,Eggs=b"), [])


def write(path: Path, count: int, seed: int) -> str:
    """What does it eat? The sentence itself says so, but for the last word."""
    labels = {"cat": "cat", "fox": "fox", "dog": "dog"}
    lines = [t.rsplit(" ", 2)[0] for t in tiny.sentences(8 * count, seed)]
    rows = [(t, labels[t.split()[2]]) for t in lines if t.split()[2] in labels]
    with path.open("w") as file:
        for text, label in rows[:count]:
            file.write(json.dumps({"text": text, "label": label}) + "\n")
    return str(path)


def test_a_pretrained_model_answers_at_once_and_learns(models, tokenizer, tmp_path):
    """A model that knows the language fills the gap; --epochs 0 leaves it as it is."""
    folder = tmp_path / "model"
    pretrained(models["modern"], tokenizer).save_pretrained(folder)
    tokenizer.save(folder)
    train, valid = write(tmp_path / "train.jsonl", 60, 0), write(tmp_path / "valid.jsonl", 40, 1)
    at_once = config(
        folder,
        template="{text} [MASK] .",
        train=train,
        valid=valid,
        out=tmp_path / "zero",
        epochs=0,
    )
    outcome = finetune(at_once, quiet=True)
    assert outcome.result is None and outcome.score > 0.9
    predictor = Predictor.load(at_once.out)
    assert predictor.task.template == "{text} [MASK] ." and predictor.task.labels[1] == "fox"
    before, after = (MaskedLM.from_pretrained(f).state_dict() for f in (folder, at_once.out))
    assert all(torch.equal(before[name], p) for name, p in after.items())
    (said,) = predictor(["the red dog hunts the red"])
    assert said.label == "dog" and sum(said.probabilities.values()) == pytest.approx(1)

    swapped = config(
        folder,
        template="{text} [MASK] .",
        verbaliser="fish=fox,eggs=dog,bones=cat",
        train=train,
        valid=valid,
        out=tmp_path / "few",
        per_label=8,
        epochs=10,
        batch_size=8,
        training=LoopConfig(learning_rate=5e-3, eval_every=50, checkpoint_every=0),
    )
    assert finetune(replace(swapped, out=tmp_path / "none", epochs=0), quiet=True).score < 0.1
    learned = finetune(swapped, quiet=True)
    assert learned.score > 0.9
    assert evaluate_folder(swapped.out, valid).metric.scores() == learned.metric.scores()


def pretrained(folder: Path, tokenizer: Tokenizer) -> MaskedLM:
    """A masked-language model that has learned with which food a sentence ends."""
    torch.manual_seed(0)
    model = MaskedLM.from_pretrained(folder).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    sentences = [t for t in tiny.sentences(5000) if t.split()[2] in ("cat", "dog", "fox")]
    for step in range(100):
        some = sentences[16 * step : 16 * step + 16]
        foods = torch.tensor([tokenizer.id(t.split()[-2]) for t in some])
        batch = tokenizer.batch([t.replace(t.split()[-2], "[MASK]") for t in some])
        logits = model(**batch, target_positions=batch["input_ids"] == tokenizer.mask_id)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, foods).backward()
        optimizer.step()
    return model.eval()
