# %% [markdown]
# # BERT, loaded
#
# Somebody else's weights go into our encoder: a real BERT, layer by layer held against
# `transformers`, the library that most people use. When the two agree up to rounding, every formula
# that BERT takes from the chapters before is the one that others compute, too. When they do not,
# the first number that differs says where to look, and we plant some mistakes to see it found.

# %% setup
import json
import struct
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from guide import BLUE, GREY, ORANGE, check, claim, panel, show
from torch import Tensor

from plainformer.corpora import fetch
from plainformer.encoder import Encoder, EncoderConfig, MaskedLM
from plainformer.encoder.weights import FAMILIES, read_tensors
from plainformer.explain import compare_folder, compare_models
from plainformer.pretrain import fill_mask
from plainformer.tokenizer import load_tokenizer

transformers.utils.logging.disable_progress_bar()

# %% [markdown]
# ## What a model folder holds
#
# A published model is a folder of a few files. `fetch` downloads one by its name and verifies its
# checksums; this one is all-MiniLM-L6-v2, a small BERT that chapter
# [Sentences as vectors](11_sentences.py) uses.

# %% folder
folder = fetch("minilm")
for file in sorted(folder.iterdir()):
    print(f"{file.name:<26}{file.stat().st_size:>12,} bytes")

# %% [markdown]
# `config.json` gives the shape: how many layers, how wide, which [activation
# function](05_encoder.py). `vocab.txt` has a token a line, and the number of the line is the
# token's id; `tokenizer.json` holds the same tokens with the rules of splitting.
# `model.safetensors` has the numbers, more than a hundred times the rest. `card.json` is written by
# `fetch`: licence, source, checksums.

# %% config
settings = json.loads((folder / "config.json").read_text())
for name in ("num_hidden_layers", "hidden_size", "num_attention_heads", "hidden_act"):
    print(f"{name} = {settings[name]!r}")
tokens = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
print(f"token 7592 of {len(tokens):,} is {tokens[7592]!r}")
assert load_tokenizer(folder).token(7592) == tokens[7592]

# %% [markdown]
# A safetensors file can be read by hand: eight bytes that give the length of a header, the header
# as JSON, and then the numbers of all tensors, one after the other. The header says of each tensor
# its type, its shape, and where its bytes begin and end.

# %% header
with (folder / "model.safetensors").open("rb") as file:
    (length,) = struct.unpack("<Q", file.read(8))
    header = json.loads(file.read(length))
    entry = header["encoder.layer.0.attention.self.query.weight"]
    begin, end = entry["data_offsets"]
    file.seek(8 + length + begin)
    numbers = np.frombuffer(file.read(end - begin), dtype="<f4").reshape(entry["shape"])
print(f"{len(header)} entries; one of them: {entry}")

# %% [markdown]
# That was one matrix of 384 × 384 numbers, and it equals what the library reads. There is no code
# in such a file, so opening it runs nothing. (The older format, a Python pickle, may run anything.)

# %% header-check
tensors = read_tensors(folder)
assert np.array_equal(numbers, tensors["encoder.layer.0.attention.self.query.weight"].numpy())
assert numbers.shape == (384, 384)

# %% [markdown]
# ## Their names and ours
#
# The file names its tensors after the modules of `transformers`. To load it is to know which of
# their names is which of ours: a table, and nothing else. `{}` stands for the number of a layer.

# %% names
for name, theirs_name in FAMILIES["bert"].names.items():
    their_names = (theirs_name,) if isinstance(theirs_name, str) else theirs_name
    for ours_name, other in zip((name, *[""] * 2), their_names, strict=False):
        print(f"{ours_name:<28}{other}")

# %% [markdown]
# One line has three names: our attention computes queries, keys and values in one matrix product,
# so three matrices of the file become one, stacked. Everything else is copied as it is. The
# last line, the *pooler*, is a small layer that BERT puts on the vector of the first token; not
# every model has one.

# %% stacked
model = Encoder.from_pretrained(folder)
attention = "encoder.layer.0.attention.self."
stacked = torch.cat([tensors[f"{attention}{part}.weight"] for part in ("query", "key", "value")])
assert torch.equal(model.blocks[0].attention.qkv.weight, stacked)
assert torch.equal(model.embeddings.norm.bias, tensors["embeddings.LayerNorm.bias"])
print(f"three of 384 × 384 become one of {' × '.join(map(str, stacked.shape))}")

# %% [markdown]
# Where are the numbers? We count the parameters by part, in this model and in a smaller one, a BERT
# of two layers whose name is SPLADE. The table of the tokens' vectors alone is 52 % of the larger
# model and 89 % of the smaller one: most of a small BERT is the table of its tokens.

# %% count
PARTS = {"embeddings": "embeddings", "attention": "attention", "feed_forward": "feed-forward"}


def count(encoder: Encoder) -> dict[str, int]:
    """Count the parameters of each part."""
    counts = dict.fromkeys([*PARTS.values(), "the rest"], 0)
    for name, parameter in encoder.named_parameters():
        part = next((p for key, p in PARTS.items() if f"{key}." in name), "the rest")
        counts[part] += parameter.numel()
    return counts


small = Encoder.from_pretrained("splade")
encoders = {"minilm": model, "splade": small}
for name, encoder in encoders.items():
    print(name, f"{encoder.num_parameters():,}", count(encoder))
    assert sum(count(encoder).values()) == encoder.num_parameters()
shares = [e.embeddings.tokens.weight.numel() / e.num_parameters() for e in encoders.values()]
claim(100 * shares[0], "52 %", within=0.5)
claim(100 * shares[1], "89 %", within=0.5)

# %% count-picture
figure, axes = panel(6.5, 2.4)
for row, encoder in enumerate(encoders.values()):
    left = 0.0
    for (part, number), colour, hatch in zip(
        count(encoder).items(), (BLUE, ORANGE, GREY, "black"), ("", "//", "..", ""), strict=True
    ):
        label = part if row == 0 else None
        axes.barh(
            row, number / 1e6, left=left, color=colour, hatch=hatch, edgecolor="white", label=label
        )
        left += number / 1e6
axes.set_yticks([0, 1], list(encoders))
axes.set_xlabel("million parameters")
axes.legend(frameon=False, ncols=2)
show(
    figure,
    "Two bars of parameters by part: the embeddings are half of minilm, nearly all of splade.",
)

# %% [markdown]
# ## Layer by layer
#
# Does our encoder compute what theirs computes? Both get the same sentences and give the vectors
# after the embeddings and after each layer. At each stage we take the largest difference of any
# number, $\max |o - t|$ with $o$ ours and $t$ theirs. Padding is left out: nobody reads it. (Layers
# are counted from 0 in this chapter, as in the file.)

# %% layers
SENTENCES = [
    "Plain text.",
    "A model is trusted when it can be checked, number by number.",
    "We sat on the bank of the river and watched the boats go by.",
]
batch = load_tokenizer(folder).batch(SENTENCES)
theirs = transformers.BertModel.from_pretrained(folder, attn_implementation="eager").eval()
real = batch["attention_mask"].bool()


@torch.no_grad()
def differences(ours: torch.nn.Module, theirs: torch.nn.Module) -> list[float]:
    """Compute the largest difference at the embeddings and after each layer."""
    mine, other = (m(**batch, output_hidden_states=True).hidden_states for m in (ours, theirs))
    return [float((o[real] - t[real]).abs().max()) for o, t in zip(mine, other, strict=True)]


single = differences(model, theirs)
print([f"{difference:.0e}" for difference in single])
assert max(single) < 1e-5

# %% [markdown]
# They agree to five places, and not exactly. Is that rounding, or a small mistake? A number of 32
# bits keeps about seven digits, one of 64 bits sixteen. So we ask for the same in 64 bits: a
# mistake in a formula would stay as it is, and rounding shrinks with the digits.

# %% double
double = differences(Encoder.from_pretrained(folder).double(), theirs.double())
theirs.float()
assert max(double) < 1e-12

# %% layers-picture
figure, axes = panel(6.5, 3.6)
stages = ["embeddings", *(f"layer {i}" for i in range(6))]
for values, colour, style, label in (
    (single, ORANGE, "o-", "32 bits"),
    (double, BLUE, "s--", "64 bits"),
):
    axes.plot(stages, [max(v, 1e-17) for v in values], style, color=colour, label=label)
axes.axhline(
    torch.finfo(torch.float32).eps, color=GREY, linestyle=":", label="last digit of 32 bits at 1"
)
axes.set_yscale("log")
axes.set_ylabel("largest difference")
axes.legend(frameon=False)
show(
    figure,
    "The largest difference per layer on a log scale: near a millionth in 32 bits, hundreds of "
    "millions of times smaller in 64 bits, and level over the layers.",
)

# %% [markdown]
# The difference falls by a factor of a hundred million and more. It was rounding: two programs add
# the same numbers in another order. Such agreement but for rounding is called *parity*. (The lowest
# points stand for an exact zero, which has no place on a log scale.) The line does not rise with
# depth, since each layer norm scales the vectors anew.

# %% rounding
factors = [one / two for one, two in zip(single[1:], double[1:], strict=True)]
assert min(factors) > 1e8
assert 0.1 + 0.2 + 0.3 != 0.3 + 0.2 + 0.1  # the order of a sum matters in any floating point

# %% [markdown]
# ## A head that names words
#
# The second model, SPLADE, has BERT's masked-language-model head: from the vector $h$ of a token to
# a number for each of the 30,522 tokens, the *logits*. It is one more layer, and then a product
# with the table of token vectors $E$:
#
# $$z = \mathrm{LayerNorm}(\mathrm{GELU}(W h + b)), \qquad \mathrm{logits} = E z + c$$

# %% head
lm, tokenizer = MaskedLM.from_pretrained("splade"), load_tokenizer("splade")
inputs = tokenizer.batch(["Paris is the capital of France."])
with torch.no_grad():
    logits = lm(**inputs)[0]  # (tokens, vocabulary)
    h = lm.encoder(**inputs).last_hidden_state[0]
    W, b, norm, c = lm.head.dense.weight, lm.head.dense.bias, lm.head.norm, lm.bias
    z = F.layer_norm(F.gelu(h @ W.T + b), (128,), norm.weight, norm.bias, eps=1e-12)
    E = lm.encoder.embeddings.tokens.weight
    torch.testing.assert_close(z @ E.T + c, logits, rtol=1e-4, atol=1e-4)
print(f"{h.shape[0]} tokens, {logits.shape[1]:,} logits for each")

# %% [markdown]
# $E$ is the same table that turned the ids into vectors at the entrance. Both ends have *tied
# weights*: the file does not hold the table twice, and neither model does in memory. Without tying,
# this one would have 88 % more parameters. Tying makes sense because both ends ask the same
# question: which vector belongs to which token?

# %% tied
names = read_tensors(fetch("splade")).keys()
assert "bert.embeddings.word_embeddings.weight" in names
assert "cls.predictions.decoder.weight" not in names
their_lm = transformers.BertForMaskedLM.from_pretrained(fetch("splade")).eval()
decoder, table = their_lm.cls.predictions.decoder.weight, their_lm.bert.embeddings.word_embeddings
assert decoder is table.weight
claim(100 * E.numel() / lm.num_parameters(), "88 %", within=0.5)

# %% [markdown]
# ## A masked word
#
# What does it put at a `[MASK]`?

# %% masked
for text in ("Paris is the capital of [MASK].", "He drank a cup of [MASK]."):
    (guesses,) = fill_mask(lm, tokenizer, text, top=4)
    print(text, "→", ", ".join(f"{guess.token} {guess.probability:.2f}" for guess in guesses))
(city, *_), (drink, *_) = (
    fill_mask(lm, tokenizer, f"{text} [MASK].", top=1)[0]
    for text in ("Paris is the capital of", "He drank a cup of")
)
assert (city.token, drink.token) == ("city", "drink")

# %% [markdown]
# *City* and *drink*: what the sentence is about, but not the word that fits. We try it on lines of
# a dictionary, hide the token in the middle of each, and ask at which place the true token stands
# among all 30,522. Blind guessing would give a median of 15,261; that of the model is about 520.
# The true token is hardly ever the first.

# %% ranks
lines = (fetch("gcide") / "valid.txt").read_text(encoding="utf-8").splitlines()
ranks = []
for line in [line for line in lines if 40 < len(line) < 120][:120]:
    ids = torch.tensor([tokenizer.encode(line).ids])
    middle = ids.shape[1] // 2
    true, ids[0, middle] = int(ids[0, middle]), tokenizer.mask_id
    with torch.no_grad():
        scores = lm(input_ids=ids, target_positions=ids == tokenizer.mask_id)[0]
    ranks.append(int((scores > scores[true]).sum()) + 1)
claim(float(np.median(ranks)), "520", within=60)
assert sum(rank == 1 for rank in ranks) <= 2

# %% [markdown]
# The head has the form of BERT's, but its numbers have learned another task since: its authors went
# on training the model, for search. For a whole text, each token of the vocabulary gets one weight,
# the largest that any position $i$ gives it,
#
# $$w_j = \max_i \log(1 + \max(0, \mathrm{logits}_{ij}))$$
#
# and a document is found when its large weights stand at the same tokens as those of the question.
# Most weights are zero, and among the others are words that the text does not contain: a *sparse*
# vector that can be read.


# %% words
@torch.no_grad()
def words(text: str) -> Tensor:
    """Weigh each token of the vocabulary by SPLADE's formula."""
    logits = lm(**tokenizer.batch([text]))[0]  # (tokens, vocabulary)
    return logits.clamp(min=0).log1p().amax(dim=0)


TEXT = "The doctor examined the sick child."
weights = words(TEXT)
best = weights.topk(14)
found = [tokenizer.token(i) for i in best.indices.tolist()]
said = [tokenizer.token(i) for i in tokenizer.encode(TEXT).ids]
print(f"{int((weights > 0.01).sum())} of {len(weights):,} weights are not zero")
assert (weights > 0.01).sum() < 40
assert {"doctor", "sick"} <= set(found) & set(said)
assert {"hospital", "baby", "ill"} <= set(found) - set(said)

# %% words-picture
figure, axes = panel(5.5, 4)
colours = [BLUE if word in said else ORANGE for word in found]
hatches = ["" if word in said else "//" for word in found]
axes.barh(
    found[::-1],
    best.values.tolist()[::-1],
    color=colours[::-1],
    hatch=hatches[::-1],
    edgecolor="white",
)
axes.set_xlabel("weight")
axes.set_title("plain: in the sentence; hatched: added by the model", fontsize=10)
show(
    figure,
    "Weights of fourteen words for a sentence about a doctor and a sick child: its own words come "
    "first, then words like baby, ill and hospital that it does not contain.",
)

# %% [markdown]
# So look at what a model was trained for before you use it: the architecture in `config.json` is
# `BertForMaskedLM`, and it does not say that.
#
# ## And back again
#
# The table of names is read in the other direction, too. We save the model and open the folder with
# `transformers`: the same logits, so what is trained here can be used elsewhere.

# %% back
with TemporaryDirectory() as saved:
    lm.save_pretrained(saved)
    print(sorted(path.name for path in Path(saved).iterdir()))
    reopened = transformers.BertForMaskedLM.from_pretrained(saved).eval()
with torch.no_grad():
    torch.testing.assert_close(reopened(**inputs).logits[0], logits, rtol=1e-4, atol=1e-4)

# %% [markdown]
# ## A planted mistake
#
# Now the other case: somebody writes an encoder, and it is nearly right. Four such encoders, each
# with one mistake. The first uses an approximation of GELU by the hyperbolic tangent. Google's own
# code of BERT has it, but `hidden_act = "gelu"` in this folder means the exact form. The second
# adds another $\varepsilon$ in the layer norm. The third has two bias vectors of layer 2 in each
# other's place. The fourth splits the vectors into 6 heads, not 12.


# %% mistakes
def with_mistake(swap: tuple[str, str] | None = None, **config: object) -> Encoder:
    """Build the encoder with another configuration, or with two tensors swapped."""
    wrong = Encoder(replace(model.config, **config)).eval()
    state = dict(model.state_dict())
    if swap is not None:
        state[swap[0]], state[swap[1]] = state[swap[1]], state[swap[0]]
    wrong.load_state_dict(state)
    return wrong


biases = ("blocks.2.attention_norm.bias", "blocks.2.feed_forward_norm.bias")
wrong = {
    "GELU by tanh": with_mistake(hidden_act="gelu_tanh"),
    "epsilon 0.00001": with_mistake(norm_eps=1e-5),
    "two biases swapped": with_mistake(swap=biases),
    "6 heads": with_mistake(num_attention_heads=6),
}

# %% [markdown]
# All four load without a complaint, since every shape fits. `compare_models` runs the two models,
# finds the first stage that departs, and then the first part in it. (On the command line,
# `plainformer compare FOLDER` does that for a folder.)

# %% hints
hints, found_in = {}, {}
for name, encoder in wrong.items():
    compared, hints[name] = compare_models(encoder, theirs, [batch])
    found_in[name] = [stage.maximum for stage in compared][:7]
    print(f"{name}:\n    {hints[name]}")
assert "layer 0: look at bert.encoder.layer.0.output.LayerNorm" in hints["GELU by tanh"]
assert "embeddings: look at bert.embeddings.LayerNorm" in hints["epsilon 0.00001"]
assert "that of bert.encoder.layer.2.output.LayerNorm.bias" in hints["two biases swapped"]
assert "look at bert.encoder.layer.0.attention.output.dense" in hints["6 heads"]

# %% [markdown]
# Read the hints. For the swapped biases it names the tensor and the one that is in its place. For
# GELU it says that the weights of the layer norm are equal and its input is not: the mistake is in
# what is computed just before, and that is the activation.

# %% mistakes-picture
figure, axes = panel(6.5, 4)
axes.plot(stages, [max(v, 1e-7) for v in single], "k:", marker=".", label="no mistake")
for (name, values), colour, style in zip(
    found_in.items(), (BLUE, ORANGE, GREY, "black"), ("o-", "s--", "^-.", "D-"), strict=True
):
    axes.plot(stages, [max(v, 1e-7) for v in values], style, color=colour, label=name)
axes.set_yscale("log")
axes.set_ylabel("largest difference")
axes.legend(frameon=False, ncols=2, loc="lower right")
show(
    figure,
    "The largest difference per layer with each mistake: each line leaves the lowest one at the "
    "stage of its mistake. GELU and epsilon stay near a thousandth, the others near one.",
)

# %% [markdown]
# Two of the mistakes are large, and a test of the results would have found them. The other two are
# near a thousandth: the model still works, its scores hardly change, and nobody would look. This is
# why one compares numbers, stage by stage, and with a tolerance close to rounding.

# %% sizes
assert all(1e-3 < max(found_in[name]) < 1e-2 for name in ("GELU by tanh", "epsilon 0.00001"))
assert all(max(found_in[name]) > 0.5 for name in ("two biases swapped", "6 heads"))

# %% [markdown]
# One mistake is never found. We add 1 to every number of the bias of the keys in layer 2, and all
# stages agree.

# %% key-bias
shifted = with_mistake()
with torch.no_grad():
    query, key, value = shifted.blocks[2].attention.qkv.bias.chunk(3)  # views of the parameter
    key += 1
assert not torch.equal(shifted.blocks[2].attention.qkv.bias, model.blocks[2].attention.qkv.bias)
_, hint = compare_models(shifted, theirs, [batch])
assert hint is None

# %% [markdown]
# The bias $b$ of the keys adds $q \cdot b$ to every score of the query $q$, the same for all keys;
# and softmax does not change when all its inputs move together. So this bias has no effect in any
# BERT, and a test that looks at outputs is right to say nothing.

# %% softmax
scores = torch.randn(5, generator=torch.Generator().manual_seed(0))
torch.testing.assert_close((scores + 3).softmax(0), scores.softmax(0))

# %% [markdown]
# The whole comparison of a folder also holds the tokenizers against each other, id by id.

# %% whole
comparison = compare_folder("splade")
for agreement in comparison.tokenizers:
    print(f"{agreement.what}: equal on {agreement.equal:,} of {agreement.total:,} {agreement.unit}")
assert comparison.agrees

# %% [markdown]
# ## Exercises
#
# **1.** Write the number of parameters of a BERT without pooler as a formula of its shape.


# %% exercise-1
def parameters(config: EncoderConfig) -> int:
    """Count the parameters of BERT's embeddings and layers from the configuration."""
    raise NotImplementedError


# %% check-1
@check
def exercise_1() -> None:
    pooler = sum(p.numel() for p in model.pooler.parameters())
    assert parameters(model.config) == model.num_parameters() - pooler
    assert parameters(lm.config) == lm.encoder.num_parameters()
    assert parameters(EncoderConfig.preset("bert-base")) == 108_891_648


# %% [markdown]
# <details><summary>Hint</summary>
#
# Three tables and a layer norm at the entrance. In each layer, four square matrices, two of the
# feed-forward layer, and two layer norms; each matrix has a bias as long as its output, each norm a
# weight and a bias.
#
# </details>


# %% solution-1
def parameters(config: EncoderConfig) -> int:
    """Count the parameters of BERT's embeddings and layers from the configuration."""
    d, wide = config.hidden_size, config.intermediate_size
    rows = config.vocab_size + config.max_position_embeddings + config.type_vocab_size
    attention = 4 * (d * d + d)
    feed_forward = (d * wide + wide) + (wide * d + d)
    norms = 2 * 2 * d
    return rows * d + 2 * d + config.num_hidden_layers * (attention + feed_forward + norms)


# %% [markdown]
# **2.** Compute SPLADE's weights of several texts at once. The shorter texts of a batch are padded,
# and
# a logit at padding must not count.


# %% exercise-2
def sparse(logits: Tensor, attention_mask: Tensor) -> Tensor:
    """Weigh the vocabulary for each text: (batch, seq, vocab), (batch, seq) to (batch, vocab)."""
    raise NotImplementedError


# %% check-2
@check
def exercise_2() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(2, 5, 40, generator=generator)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    result = sparse(logits, mask)
    assert result.shape == (2, 40)
    for row, length in enumerate((5, 2)):
        for j in range(40):
            expected = max(np.log(1 + max(0.0, float(logits[row, i, j]))) for i in range(length))
            assert abs(float(result[row, j]) - expected) < 1e-5
    texts = [TEXT, "A dog."]
    together = tokenizer.batch(texts)
    with torch.no_grad():
        rows = sparse(lm(**together), together["attention_mask"])
    torch.testing.assert_close(rows[1], words(texts[1]), rtol=1e-4, atol=1e-4)


# %% [markdown]
# <details><summary>Hint</summary>The weight of a negative logit is zero. What can be done with the
# weights at padding, so that they never are the largest?</details>


# %% solution-2
def sparse(logits: Tensor, attention_mask: Tensor) -> Tensor:
    """Weigh the vocabulary for each text: (batch, seq, vocab), (batch, seq) to (batch, vocab)."""
    weights = logits.clamp(min=0).log1p() * attention_mask[:, :, None]
    return weights.amax(dim=1)


# %% [markdown]
# **3.** Write the search yourself: the number of the first stage that departs. A stage agrees when
# $\max |o - t| \le \mathrm{tolerance} \cdot \max(1, \max |t|)$, since large numbers are rounded
# more. A result that is not a number (NaN) does not agree with anything.


# %% exercise-3
def first_departing(
    ours: list[Tensor], theirs: list[Tensor], tolerance: float = 1e-5
) -> int | None:
    """Return the number of the first stage that departs; None if all agree."""
    raise NotImplementedError


# %% check-3
@check
def exercise_3() -> None:
    right = [torch.full((2, 3), size) for size in (1.0, 1000.0, 1.0, 0.001)]
    assert first_departing(right, right) is None
    rounded = [t + torch.tensor([1e-6, 5e-3, 1e-6, 8e-6])[i] for i, t in enumerate(right)]
    assert first_departing(rounded, right) is None
    for stage, error in ((0, 2e-5), (1, -2e-2), (3, 2e-5), (2, float("nan"))):
        wrong_here = [t.clone() for t in right]
        wrong_here[stage][1, 2] += error
        assert first_departing(wrong_here, right) == stage
    with torch.no_grad():
        outputs = [
            m(**batch, output_hidden_states=True).hidden_states
            for m in (wrong["two biases swapped"], theirs)
        ]
    mine, other = ([stage[real] for stage in stages] for stages in outputs)
    assert first_departing(mine, other) == 3  # the embeddings are stage 0


# %% [markdown]
# <details><summary>Hint</summary>Every comparison with NaN is false: ask whether a stage agrees,
# and return the first of which that is not true.</details>


# %% solution-3
def first_departing(
    ours: list[Tensor], theirs: list[Tensor], tolerance: float = 1e-5
) -> int | None:
    """Return the number of the first stage that departs; None if all agree."""
    for number, (o, t) in enumerate(zip(ours, theirs, strict=True)):
        bound = tolerance * max(1.0, float(t.abs().max()))
        if not float((o - t).abs().max()) <= bound:
            return number
    return None
