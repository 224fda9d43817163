# %% [markdown]
# # Small changes to big models
#
# Fine-tuning moves every number of a model, and leaves a copy of all of them for each task. Is that
# necessary? We look at what it changes, replace it by changes of a few thousandths of the size,
# measure how good they are, and end with two tasks in one batch of one model.

# %% setup
from pathlib import Path

import torch
import torch.nn.functional as F
from guide import BLUE, GREY, ORANGE, check, claim, panel, panels, show
from torch import Tensor

from plainformer.corpora import fetch, read_rows
from plainformer.encoder import AttentionMask, EncoderConfig, SequenceClassifier, Sequences
from plainformer.tokenizer import load_tokenizer

tokenizer = load_tokenizer("minilm")


def read(name: str, part: str) -> list[tuple[str, str]]:
    """Read the texts and labels of a part of a set, in random order."""
    rows = [row.fields for row in read_rows(fetch(name) / f"{part}.jsonl")]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    return [(rows[i]["text"], rows[i]["label"]) for i in order.tolist()]


train_questions, test_questions = read("trec", "train"), read("trec", "test")
LABELS = sorted({label for _, label in train_questions})
for text, label in train_questions[:3]:
    print(f"{label:5} {text}")

# %% [markdown]
# The task is to tell what kind of answer a question of the TREC collection asks for: an
# abbreviation, a description, a thing, a person, a place or a number. Training is known from
# [Fine-tuning a classifier](08_classifier.py). It moves the parameters that require a gradient: all
# others are **frozen**.

# %% train
Example = tuple[str, str]


def batch(model: SequenceClassifier, examples: list[Example]) -> tuple[dict[str, Tensor], Tensor]:
    """Make the inputs and the targets of examples."""
    inputs = tokenizer.batch([text for text, _ in examples], max_length=32)
    return inputs, torch.tensor([model.labels.index(label) for _, label in examples])


def train(model: SequenceClassifier, examples: list[Example], rate: float, steps: int) -> None:
    """Train on 16 examples a step, with a learning rate that falls to 0."""
    torch.manual_seed(0)
    moving = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(moving, lr=rate, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, steps)
    model.train()
    for step in range(steps):
        chosen = [examples[i % len(examples)] for i in range(16 * step, 16 * step + 16)]
        inputs, targets = batch(model, chosen)
        F.cross_entropy(model(**inputs), targets).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()


@torch.no_grad()
def accuracy(model: SequenceClassifier, examples: list[Example]) -> float:
    """Return the percentage of examples whose label is right."""
    model.eval()
    parts = [batch(model, examples[i : i + 50]) for i in range(0, len(examples), 50)]
    right = sum(int((model(**x).argmax(1) == y).sum()) for x, y in parts)
    return 100 * right / len(examples)


# %% [markdown]
# ## What fine-tuning changes
#
# First the whole encoder. `minilm` has six layers and 23 million parameters; to save time we take
# 320 short questions, 30 steps, and leave the embeddings as they are.

# %% full


def short(questions: list[Example], count: int) -> list[Example]:
    """Return the first questions of at most ten tokens."""
    return [q for q in questions[:1500] if len(tokenizer.encode(q[0]).ids) <= 10][:count]


short_questions, short_test = short(train_questions, 320), short(test_questions, 200)

torch.manual_seed(0)
model = SequenceClassifier.from_pretrained("minilm", labels=LABELS, dropout=0.0)
model.base.embeddings.requires_grad_(False)
before = {name: p.detach().clone() for name, p in model.base.blocks.named_parameters()}
train(model, short_questions, 5e-4, 30)
whole = accuracy(model, short_test)
claim(whole, "80 %", within=7)

# %% [markdown]
# It now answers about 80 % of the test questions. The **change** of a matrix is
# $\Delta W = W_{\text{after}} - W_{\text{before}}$, as large as the matrix itself. But how much is
# in it? The [singular value decomposition](02_vectors.py) writes a matrix as a sum of simple ones,
# each a column times a row, in falling order of weight:
#
# $$\Delta W = \sum_i \sigma_i \, u_i v_i^\top$$
#
# The number of terms with $\sigma_i \neq 0$ is the **rank**. A matrix is of *low rank*, or nearly
# so, when the first few terms make up most of it.

# %% decompose
changes = {
    name: p.detach() - before[name]
    for name, p in model.base.blocks.named_parameters()
    if p.ndim == 2
}
terms = {name: torch.linalg.svd(change, full_matrices=False) for name, change in changes.items()}

name = "5.feed_forward.down.weight"
u, sigma, v = terms[name]
torch.testing.assert_close((u * sigma) @ v, changes[name], rtol=1e-3, atol=1e-6)
print(f"{name}: {tuple(changes[name].shape)}, {len(sigma)} terms")


def share(sigma: Tensor, rank: int) -> float:
    """Return the share of the first terms in the sum of squares of the matrix."""
    return float((sigma[:rank] ** 2).sum() / (sigma**2).sum())


# %% [markdown]
# Does the model need more than the first few terms? We put $W_{\text{before}}$ back, add only the
# first $r$ terms of each change, and measure.

# %% truncate
ranks = (0, 1, 4, 16, 64)
kept = []
for rank in ranks:
    with torch.no_grad():
        for name, (u, sigma, v) in terms.items():
            low = (u[:, :rank] * sigma[:rank]) @ v[:rank]
            model.base.blocks.get_parameter(name).copy_(before[name] + low)
    kept.append(accuracy(model, short_test))
print({rank: f"{value:.0f} %" for rank, value in zip(ranks, kept, strict=True)}, f"all {whole:.0f}")
assert kept[0] < whole - 20
assert abs(kept[-1] - whole) <= 5

# %% low-rank
figure, (left, right) = panels(2, 4.2, 3.4)
noise = torch.randn(384, 1536, generator=torch.Generator().manual_seed(0))
lines = {
    "top layer": (terms["5.feed_forward.down.weight"][1], BLUE, "o-"),
    "bottom layer": (terms["0.feed_forward.down.weight"][1], ORANGE, "s--"),
    "random numbers": (torch.linalg.svdvals(noise), GREY, "^:"),
}
counts = [1, 2, 4, 8, 16, 32, 64, 128, 256]
for name, (sigma, colour, style) in lines.items():
    left.plot(range(9), [share(sigma, n) for n in counts], style, color=colour, label=name)
left.set_xticks(range(9), counts)
left.set_yticks([0, 0.25, 0.5, 0.75, 1])
left.set_ylim(0, 1.45)
left.set_xlabel("first terms, of 384")
left.set_ylabel("share of the change")
left.legend(frameon=False, loc="upper left")
right.plot(range(len(ranks)), kept, "o-", color=BLUE, label="first terms only")
right.axhline(whole, color="black", linestyle=":", label="the whole change")
right.set_xticks(range(len(ranks)), [str(rank) for rank in ranks])
right.set_xlabel("terms kept of each matrix")
right.set_ylabel("accuracy (%)")
right.legend(frameon=False)
show(
    figure,
    "Left: a few terms hold most of the change of a matrix in the top layer, fewer in the bottom "
    "layer, and next to nothing of random numbers. Right: with 16 terms of 384 the accuracy is "
    "nearly that of the whole change.",
)
assert share(lines["top layer"][0], 8) > 0.75
assert share(lines["top layer"][0], 8) > share(lines["bottom layer"][0], 8) + 0.1
assert share(lines["bottom layer"][0], 8) > 4 * share(lines["random numbers"][0], 8)
assert kept[3] > whole - 8

# %% [markdown]
# With 16 terms of 384 nearly all of the gain is there. In the top layer eight terms hold more than
# three quarters of the change; of random numbers they would hold a twentieth. Where in the model is
# the change, and where is it of low rank?

# %% by-layer
figure, (left, right) = panels(2, 4.2, 3.4)
KINDS = {
    "attention.qkv": (BLUE, "o-"),
    "attention.output": (ORANGE, "s--"),
    "feed_forward.up": (GREY, "^-."),
    "feed_forward.down": ("black", "d:"),
}
for kind, (colour, style) in KINDS.items():
    names = [f"{layer}.{kind}.weight" for layer in range(6)]
    sizes = [100 * float(changes[name].norm() / before[name].norm()) for name in names]
    left.plot(range(1, 7), sizes, style, color=colour, label=kind)
    shares = [share(terms[name][1], 8) for name in names]
    right.plot(range(1, 7), shares, style, color=colour, label=kind)
    assert all(1 < size < 10 for size in sizes)
    assert shares[5] > shares[0] + 0.1
left.set_ylim(0)
left.set_ylabel("size of the change (% of the weights)")
right.set_ylabel("share of its first 8 terms")
right.set_ylim(0, 1)
for axes in (left, right):
    axes.set_xlabel("layer")
left.legend(frameon=False, fontsize=8)
show(
    figure,
    "Left: every matrix moves by a few hundredths of its size, in every layer. Right: the share of "
    "the first eight terms rises from the bottom layer to the top.",
)

# %% [markdown]
# Every matrix moves a little, in every layer; and the higher the layer, the fewer the directions.
# There is a reason. The gradient of a matrix is a sum of one outer product $\delta x^\top$ for each
# token, so its rank is at most the number of tokens. In the top layer only the vector of `[CLS]`
# goes on to the logits: there the rank of the feed-forward matrices is at most the number of texts,
# and that of keys and values at most heads times texts.

# %% gradient-rank
inputs, targets = batch(model, short_questions[:5])
F.cross_entropy(model(**inputs), targets).backward()
blocks = model.base.blocks
gradient_ranks = [
    int(torch.linalg.matrix_rank(block.feed_forward.down.weight.grad)) for block in blocks
]
print(gradient_ranks, f"{int(inputs['attention_mask'].sum())} tokens in 5 texts")
assert gradient_ranks[-1] <= 5
assert max(gradient_ranks) <= inputs["attention_mask"].sum()

# %% [markdown]
# ## LoRA
#
# If the change is of low rank anyway, why not write it as one from the start? **LoRA**, *low-rank
# adaptation*, freezes $W$ and trains two thin matrices instead:
#
# $$y = W x + b + s \cdot B A x,
# \qquad A:\, r \times \text{columns}, \quad B:\, \text{rows} \times r$$
#
# The product $BA$ is as large as $W$, yet each of its rows is a mix of the $r$ rows of $A$. This is
# how it looks for a rank of 2:

# %% thin
generator = torch.Generator().manual_seed(1)
B, A = torch.randn(12, 2, generator=generator), torch.randn(2, 12, generator=generator)
figure, boxes = panels(3, 2.4, 2.6)
for axes, name, matrix in zip(boxes, ("B", "A", "BA"), (B, A, B @ A), strict=True):
    axes.imshow(matrix, cmap="cividis", vmin=-3, vmax=3)
    axes.set_title(f"{name}: {matrix.shape[0]} × {matrix.shape[1]}")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
show(figure, "A thin standing matrix times a thin lying one gives a large one with few patterns.")
assert torch.linalg.matrix_rank(B @ A) == 2

# %% [markdown]
# $A$ is random at the start and $B$ is 0, so the model first computes what it did before.
# `add_lora` puts them into the layers that `targets` name. The attention of this project computes
# query, key and value in [one matrix](07_bert.py); each named part of it gets its own $A$ and $B$.
# The factor is $s = \alpha / r$, so that another rank needs another learning rate less often.

# %% lora
from plainformer.finetune.tuning import add_lora, merge_added

torch.manual_seed(0)
model = SequenceClassifier.from_pretrained("minilm", labels=LABELS).eval()
inputs, _ = batch(model, short_questions[:4])
unchanged = model(**inputs)
add_lora(model, rank=4, alpha=8, targets=("query", "value"))
torch.testing.assert_close(model(**inputs), unchanged)  # B is 0

layer = model.base.blocks[0].attention.qkv
W, b, s = layer.weight, layer.bias, 8 / 4
for B in layer.b.values():
    torch.nn.init.normal_(B)  # as if it were trained
x = torch.randn(5, 384)
y = x @ W.T + b
y[:, :384] += s * x @ layer.a["query"].T @ layer.b["query"].T
y[:, 768:] += s * x @ layer.a["value"].T @ layer.b["value"].T
torch.testing.assert_close(layer(x), y, rtol=1e-4, atol=1e-4)

# %% [markdown]
# After training, $W + s \cdot BA$ can be computed once and for all. **Merged**, the model has the
# shape that it had before, and costs nothing more to run.

# %% merge
tuned = model(**inputs)
unmerge = merge_added(model)
torch.testing.assert_close(model(**inputs), tuned, rtol=1e-3, atol=1e-4)

merged = model.base.blocks[0].attention.qkv.weight
query = W[:384] + s * layer.b["query"] @ layer.a["query"]
torch.testing.assert_close(merged[:384], query)
assert torch.equal(merged[384:768], W[384:768])  # the keys have no addition
unmerge()  # B and A are back

# %% [markdown]
# How many numbers are that? $r \cdot (\text{rows} + \text{columns})$ in place of
# $\text{rows} \cdot \text{columns}$. The wider the model, the smaller the share: in BERT-base a
# rank of 8 for queries and values is 0.35 % of what its layers have. (On the device `meta` a model
# has shapes but no numbers, so it costs nothing to build.)

# %% count
shares = {}
for name in ("bert-tiny", "bert-mini", "bert-small", "bert-base"):
    config = EncoderConfig.preset(name)
    with torch.device("meta"):
        big = SequenceClassifier(config, labels=LABELS)
    total = sum(p.numel() for p in big.base.blocks.parameters())
    add_lora(big, rank=8)
    added = sum(p.numel() for p in big.base.blocks.parameters()) - total
    assert added == config.num_hidden_layers * 2 * 8 * (2 * config.hidden_size)
    shares[name] = 100 * added / total
    print(f"{name:<11}{total:>12,} parameters{added:>9,} added {shares[name]:6.2f} %")
claim(shares["bert-base"], "0.35 %", within=0.005)
assert shares["bert-base"] < shares["bert-small"] < shares["bert-mini"] < shares["bert-tiny"]

# %% [markdown]
# Less is trained, and less is kept in memory: a trained number has a gradient and the two moments
# of [AdamW](14_cluster.py#bytes), a frozen one has none.
#
# ## Other places for a small change
#
# We go on with SPLADE, a BERT of two layers with the same vocabulary, 128 wide: small enough to be
# trained many times.


# %% fresh
def fresh(labels: list[str] = LABELS) -> SequenceClassifier:
    """Load SPLADE under a new head, always the same one."""
    torch.manual_seed(0)
    return SequenceClassifier.from_pretrained("splade", labels=labels, dropout=0.0)


def trained(model: SequenceClassifier) -> int:
    """Count the trained parameters without the head: a new pooler and the classifier."""
    head = {*model.base.pooler.parameters(), *model.classifier.parameters()}
    return sum(p.numel() for p in model.parameters() if p.requires_grad and p not in head)


texts = [text for text, _ in train_questions[:100]]
assert load_tokenizer("splade").batch(texts)["input_ids"].equal(tokenizer.batch(texts)["input_ids"])

# %% [markdown]
# **BitFit** trains the biases, and adds nothing. A layer has eleven vectors of them as wide as the
# model: query, key, value and output, four in the wide inner layer and one after it, two norms. One
# more norm is in the embeddings.

# %% bitfit
from plainformer.finetune.tuning import train_biases

model = fresh()
train_biases(model)
assert trained(model) == (2 * 11 + 1) * 128
print(f"{trained(model):,} biases")

# %% [markdown]
# **IA³** learns factors: for each entry of the keys, of the values, and of the inner activations of
# the feed-forward layer. At the start they are 1. They can be merged, as they scale the rows of $W$
# and $b$: $l \odot (W x + b)$.

# %% ia3
from plainformer.finetune.tuning import add_ia3

model = fresh()
add_ia3(model)
assert trained(model) == 2 * (1 + 1 + 4) * 128
layer = model.base.blocks[0].attention.qkv
for factors in layer.scales.values():
    torch.nn.init.uniform_(factors, 0.5, 2.0)
x = torch.randn(5, 128)
query, key, value = (x @ layer.weight.T + layer.bias).chunk(3, dim=1)
expected = torch.cat([query, layer.scales["key"] * key, layer.scales["value"] * value], dim=1)
torch.testing.assert_close(layer(x), expected)

# %% [markdown]
# An **adapter** is a small network after a frozen layer: down to a few numbers, a nonlinearity, up
# again, and added, like the layer itself, to what is there already:
#
# $$y + W_{\text{up}} \, \text{gelu}(W_{\text{down}}\, y + b_{\text{down}}) + b_{\text{up}}$$
#
# $W_{\text{up}}$ is 0 at the start, so the adapter passes on what it gets. It is not linear: it
# cannot be merged, and costs a little time for ever.

# %% adapter
from plainformer.finetune.tuning import add_adapters

model = fresh().eval()
layer = model.base.blocks[0].feed_forward
y = layer(x)
add_adapters(model, size=16)
assert torch.equal(layer(x), y)  # the identity at the start

adapter = layer.adapter
torch.nn.init.normal_(adapter.up.weight)
inner = F.gelu(y @ adapter.down.weight.T + adapter.down.bias)
torch.testing.assert_close(layer(x), y + inner @ adapter.up.weight.T + adapter.up.bias)
assert trained(model) == 2 * (2 * 128 * 16 + 16 + 128)

# %% [markdown]
# A **prefix** leaves all layers alone and gives attention more to look at: in each layer a few
# learned keys $P_k$ and values $P_v$, before those of the text, as if there were words in front of
# it that no vocabulary has:
#
# $$\text{softmax}\left(\frac{Q\,[P_k; K]^\top}{\sqrt{d}}\right) [P_v; V]$$

# %% prefix
from plainformer.finetune.tuning import add_prefix

model = fresh().eval()
add_prefix(model, length=8)
attention = model.base.blocks[0].attention
assert trained(model) == 2 * 8 * 2 * 128  # layers, length, keys and values

q, k, v = attention.qkv(x).view(5, 3, 2, 64).permute(1, 2, 0, 3)  # (heads, tokens, 64) each
k = torch.cat([attention.keys.transpose(0, 1), k], dim=1)  # (heads, 8 + tokens, 64)
v = torch.cat([attention.values.transpose(0, 1), v], dim=1)
heads = F.scaled_dot_product_attention(q, k, v)
by_hand = attention.output(heads.transpose(0, 1).flatten(1))
y, _ = attention(x, AttentionMask(Sequences.of([5])))
torch.testing.assert_close(by_hand, y)

# %% [markdown]
# ## Side by side
#
# All this is called **parameter-efficient fine-tuning**. Now each method gets the same 300
# questions for 80 steps, and is measured on 500 test questions. Each has a learning rate of its
# own: the fewer numbers move, the further each has to go. The head is always trained, too; "head
# alone" trains nothing else.

# %% methods
from plainformer.finetune.tuning import freeze_base

METHODS = {
    "head alone": (freeze_base, 1e-2),
    "IA³": (add_ia3, 4e-2),
    "BitFit": (train_biases, 1e-2),
    "prefix of 8": (lambda model: add_prefix(model, length=8), 1e-2),
    "LoRA, rank 1": (lambda model: add_lora(model, rank=1), 1e-2),
    "LoRA, rank 8": (lambda model: add_lora(model, rank=8), 5e-3),
    "adapters of 16": (lambda model: add_adapters(model, size=16), 1e-2),
    "all layers": (lambda model: model.base.embeddings.requires_grad_(False), 1e-3),
}
models, numbers, scores = {}, {}, {}
for name, (change, rate) in METHODS.items():
    models[name] = fresh()
    change(models[name])
    train(models[name], train_questions[:300], rate, 80)
    numbers[name] = trained(models[name])
    scores[name] = accuracy(models[name], test_questions[:500])
    print(f"{name:<15}{numbers[name]:>9,} trained  {scores[name]:.1f} %")

# %% side-by-side
figure, axes = panel(6.5, 4)
below = ("IA³", "prefix of 8", "adapters of 16")
for name, marker in zip(list(METHODS)[1:], "osd^vPX", strict=True):
    colour = ORANGE if name == "all layers" else BLUE
    axes.semilogx(numbers[name], scores[name], marker, color=colour, markersize=9)
    place = (0, -19 if name in below else 9)
    at = (numbers[name], scores[name])
    axes.annotate(name, at, place, textcoords="offset points", ha="center")
axes.axhline(scores["head alone"], color=GREY, linestyle="--", label="head alone")
axes.set_xlim(5e2, 2e6)
axes.set_ylim(50, 90)
axes.set_xlabel("trained parameters of the encoder")
axes.set_ylabel("accuracy on the test questions (%)")
axes.legend(frameon=False, loc="lower right")
show(
    figure,
    "Accuracy by trained parameters on a logarithmic axis: LoRA, adapters and BitFit come close to "
    "the training of all layers; IA³ is a little lower, and the prefix no better than the head.",
)
claim(scores["all layers"], "78 %", within=4)
claim(scores["LoRA, rank 8"], "76 %", within=4)
claim(scores["head alone"], "61 %", within=3)
claim(100 * numbers["LoRA, rank 8"] / numbers["all layers"], "2.1 %", within=0.05)
assert scores["LoRA, rank 1"] > scores["head alone"] + 5
assert scores["adapters of 16"] > scores["head alone"] + 5
assert scores["BitFit"] > scores["head alone"] + 5
assert scores["IA³"] > scores["head alone"] + 2
assert scores["prefix of 8"] < scores["head alone"] + 6

# %% [markdown]
# LoRA trains 2.1 % of what the training of all layers does, and has 76 % right, against 78 %; the
# head alone has 61 %. Adapters, BitFit and even a LoRA of rank 1 are not far behind: with 500 test
# questions, differences of two points are luck. (Above, cutting a finished change down to one term
# did not help. Here the training knows from the start that it has one term alone, and finds a good
# one.)
#
# The prefix does no better than the head alone, here. It changes what attention mixes in, but no
# layer; its authors had models a hundred times as large. And none of this is a law: with more
# examples and a harder task there is more to change, and rank 1 is no longer enough.
#
# ## Many tasks, one base
#
# What is gained? Not much time: the forward pass is whole, and of the backward pass about half
# remains. But a fine-tuned model is a whole model, and an adapter is a small file. We save the LoRA
# from above, and one for another task: is a text message spam?

# %% save
from plainformer.finetune.tuning import save_adapter

messages, test_messages = read("sms-spam", "train"), read("sms-spam", "test")[:300]
spam = fresh(["ham", "spam"])
add_lora(spam, rank=8)
train(spam, messages, 5e-3, 50)
claim(accuracy(spam, test_messages), "96 %", within=4)

folder = Path("runs/walkthrough/adapters")
save_adapter(models["LoRA, rank 8"], folder / "questions", base="splade")
save_adapter(spam, folder / "spam", base="splade")
size = {"base": (fetch("splade") / "model.safetensors").stat().st_size}
for file in folder.glob("*/*.safetensors"):
    size[file.parent.name] = file.stat().st_size
print(size)
claim(100 * size["spam"] / size["base"], "0.6 %", within=0.05)

# %% files
figure, axes = panel(5.5, 3.4)
tasks = [1, 3, 10, 30, 100]
axes.loglog(tasks, [n * size["base"] / 1e6 for n in tasks], "s--", color=ORANGE, label="copies")
axes.loglog(
    tasks,
    [(size["base"] + n * size["spam"]) / 1e6 for n in tasks],
    "o-",
    color=BLUE,
    label="one base, and adapters",
)
axes.set_xlabel("tasks")
axes.set_ylabel("megabytes")
axes.legend(frameon=False)
show(figure, "Copies grow with the number of tasks; one base with adapters hardly grows at all.")

# %% [markdown]
# An adapter with its head is 0.6 % of the base. (The head is most of it here: SPLADE has no pooler,
# so each task brings its own.) The format is that of the library `peft`, which opens it too. Of the
# messages 96 % are told right.
#
# And more is possible. `load_adapters` loads them on one copy of the base; `mixed` computes a batch
# in which each text has an adapter of its own. Frozen layers compute all tokens at once, and only
# the thin matrices are chosen by the text.

# %% mixed
from plainformer.finetune.tuning import load_adapters, mixed

both = load_adapters(SequenceClassifier, {name: folder / name for name in ("questions", "spam")})
first, second = (both[name].eval().base for name in both)
assert first.embeddings.tokens.weight is second.embeddings.tokens.weight  # one copy

TEXTS = {
    "Where is the highest mountain of Africa ?": "questions",
    "WINNER!! Claim your free prize, call 09061701461 now": "spam",
    "Who wrote Hamlet ?": "questions",
    "Are you coming home for dinner?": "spam",
}
with torch.no_grad():
    found = mixed(both, list(TEXTS.values()), **tokenizer.batch(list(TEXTS)))
for name, outputs in found.items():
    own = [text for text, owner in TEXTS.items() if owner == name]
    alone = both[name](**tokenizer.batch(own))
    torch.testing.assert_close(outputs, alone, rtol=1e-3, atol=1e-4)
    for text, best in zip(own, outputs.argmax(1), strict=True):
        print(f"{both[name].labels[best]:5} {text}")

# %% [markdown]
# The outputs are those of each model alone, though the encoder ran once. A server with a hundred
# tasks keeps one base in memory, and a batch may mix them all.
#
# On the command line it is `plainformer finetune --lora 8 …`, and likewise for the others.
#
# ## Exercises
#
# **1.** Up to which rank has LoRA fewer numbers than the matrix that it is added to?


# %% exercise-1
def largest_rank(rows: int, columns: int) -> int:
    """Return the largest rank at which A and B together have fewer numbers than W."""
    raise NotImplementedError


# %% check-1
@check
def exercise_1() -> None:
    assert largest_rank(384, 384) == 191  # at 192 they are as many
    assert largest_rank(1536, 384) == 307
    assert largest_rank(10, 10) == 4
    for rows, columns in ((7, 30), (64, 65), (128, 512)):
        rank = largest_rank(rows, columns)
        assert rank * (rows + columns) < rows * columns <= (rank + 1) * (rows + columns)


# %% [markdown]
# <details><summary>Hint</summary>r (rows + columns) must be at most rows · columns − 1.</details>


# %% solution-1
def largest_rank(rows: int, columns: int) -> int:
    """Return the largest rank at which A and B together have fewer numbers than W."""
    return (rows * columns - 1) // (rows + columns)


# %% [markdown]
# **2.** **DoRA** takes LoRA apart once more. Every row of a matrix has a length and a direction;
# the direction is that of $W + s \cdot BA$, and the lengths $m$ are trained on their own. Compute
# the merged matrix.


# %% exercise-2
def dora(W: Tensor, change: Tensor, m: Tensor) -> Tensor:
    """Return the matrix with the directions of the rows of W + change, and the lengths m."""
    raise NotImplementedError


# %% check-2
from plainformer.finetune.tuning import add_dora


@check
def exercise_2() -> None:
    model = fresh()
    add_dora(model, rank=4, alpha=8, targets=("output",))
    layer = model.base.blocks[0].attention.output
    W, m = layer.weight.detach(), layer.m["output"]
    torch.testing.assert_close(dora(W, 0 * W, m.detach()), W)  # m starts as the lengths of W
    torch.nn.init.normal_(layer.b["output"])
    torch.nn.init.uniform_(m, 0.5, 2.0)
    change = 8 / 4 * (layer.b["output"] @ layer.a["output"]).detach()
    merge_added(model)
    expected = model.base.blocks[0].attention.output.weight
    torch.testing.assert_close(dora(W, change, m.detach()), expected.detach())


# %% [markdown]
# <details><summary>Hint</summary>Divide each row by its length, <code>norm(dim=1,
# keepdim=True)</code>, and multiply it by its m.</details>


# %% solution-2
def dora(W: Tensor, change: Tensor, m: Tensor) -> Tensor:
    """Return the matrix with the directions of the rows of W + change, and the lengths m."""
    moved = W + change
    return m[:, None] * moved / moved.norm(dim=1, keepdim=True)


# %% [markdown]
# **3.** A model was fine-tuned as a whole, and you want a small file of it. Make a LoRA out of the
# change of a matrix: the $B$ and $A$ of rank $r$ whose product is nearest to it.


# %% exercise-3
def extract(change: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return B (rows, rank) and A (rank, columns) with the smallest error |change − B A|."""
    raise NotImplementedError


# %% check-3
@check
def exercise_3() -> None:
    for name in ("5.feed_forward.down.weight", "0.attention.output.weight"):
        change, sigma = changes[name], terms[name][1]
        for rank in (1, 8, 32):
            B, A = extract(change, rank)
            assert B.shape == (len(change), rank) and A.shape == (rank, change.shape[1])
            error = (change - B @ A).norm()
            torch.testing.assert_close(error, sigma[rank:].norm(), rtol=1e-3, atol=1e-5)


# %% [markdown]
# <details><summary>Hint</summary>No matrix of rank r is nearer than the first r terms of the
# singular value decomposition. Put the σ into B or into A.</details>


# %% solution-3
def extract(change: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return B (rows, rank) and A (rank, columns) with the smallest error |change − B A|."""
    u, sigma, v = torch.linalg.svd(change, full_matrices=False)
    return u[:, :rank] * sigma[:rank], v[:rank]
