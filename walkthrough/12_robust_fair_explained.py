# %% [markdown]
# # Robust, fair, explained
#
# A score on test data says how often a model is right. It does not say how easily it is fooled,
# what it has looked at, for whom it fails, and whether it is as sure as it should be. Here you
# measure all four by hand, on models of two layers, and see a model that is right every time and
# has learned nothing.

# %% setup
import copy
import json
import shutil
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from guide import BLUE, GREY, ORANGE, check, claim, panel, show
from torch import Tensor

from plainformer.corpora import fetch, read_rows
from plainformer.encoder import SequenceClassifier, embedding_offset
from plainformer.finetune import (
    TASKS,
    Batch,
    FinetuneConfig,
    RobustOptions,
    evaluate_folder,
    finetune,
    read_examples,
)
from plainformer.tokenizer import load_tokenizer
from plainformer.training import LoopConfig

folder = Path("runs/walkthrough/robust")
shutil.rmtree(folder, ignore_errors=True)  # begin afresh
folder.mkdir(parents=True)
tokenizer = load_tokenizer("splade")


def write(name: str, rows: list[dict]) -> str:
    """Write rows to a file, one a line, and return its path."""
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def learn(name: str, train: str, valid: str, **robust: float) -> Path:
    """Fine-tune SPLADE, a BERT of two layers, on a file, and return the folder of the model."""
    finetune(
        FinetuneConfig(
            model=fetch("splade"),
            train=train,
            valid=valid,
            select=False,
            out=folder / name,
            epochs=5,
            max_length=48,
            robust=RobustOptions(**robust),
            training=LoopConfig(learning_rate=1e-3, eval_every=1000, checkpoint_every=0),
        ),
        quiet=True,
    )
    return folder / name


# %% [markdown]
# The first task is to tell what a question of the TREC collection asks for: a person, a place, a
# number, a thing, a description or an abbreviation. 800 questions are learned from, and 300 others
# are kept for the tests of this chapter.

# %% questions
rows = [row.fields for row in read_rows(fetch("trec") / "train.jsonl")]
rows = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))]
train, valid = write("train", rows[:800]), write("valid", rows[800:1300])
test = str(fetch("trec") / "test.jsonl")
questions = learn("questions", train, valid)

task = TASKS["classification"](
    labels=SequenceClassifier.from_pretrained(questions).labels, max_length=48
)
examples = list(read_examples(type(task), test, "test"))[:300]
batch = Batch.of([task.encode(example, tokenizer) for example in examples])
print(f"{len(examples)} questions, {batch.num_tokens} tokens, packed")

# %% [markdown]
# ## A step that fools
#
# Training moves the weights so that the loss falls. Now the weights stay, and the input moves so
# that the loss rises. The input of the first layer are the embeddings $x$, one vector for each
# token. Let $g = \nabla_x L(x)$ be the gradient of the loss by them. For a small change $\delta$
# the loss grows by about $g \cdot \delta$, and among all $\delta$ of length $\varepsilon$ that is
# largest along $g$. This is FGM, the *fast gradient method*:
#
# $$ \delta = \varepsilon \, \frac{g}{\|g\|}, \qquad
# L(x + \delta) \approx L(x) + \varepsilon \, \|g\| $$


# %% step
def load(folder: Path) -> SequenceClassifier:
    """Load a model whose weights stay as they are."""
    return SequenceClassifier.from_pretrained(folder).requires_grad_(False)


def loss_at(model: SequenceClassifier, batch: Batch, delta: Tensor) -> Tensor:
    """Compute the summed loss of a batch whose embeddings are moved by delta."""
    with embedding_offset(model, delta):
        logits = model(batch.input_ids, None, batch.token_type_ids, batch.sequences)
    return F.cross_entropy(logits, batch.targets, reduction="sum")


def gradient(model: SequenceClassifier, batch: Batch, delta: Tensor) -> Tensor:
    """Compute the gradient of the loss by the embeddings, at delta."""
    delta = delta.clone().requires_grad_()
    return torch.autograd.grad(loss_at(model, batch, delta), delta)[0]


model = load(questions)
one = Batch.of(batch.items[:1])
here = torch.zeros(one.num_tokens, model.config.hidden_size)
g = gradient(model, one, here)
towards = g / g.norm()
step = 0.01
growth = loss_at(model, one, step * towards) - loss_at(model, one, -step * towards)
torch.testing.assert_close(growth / (2 * step), g.norm(), rtol=0.01, atol=1e-4)
print(examples[0].text, "→", examples[0].label)

# %% [markdown]
# How good is the approximation? We go along $g$, and for comparison along a random direction, just
# as far.

# %% step-picture
chance = torch.randn(here.shape, generator=torch.Generator().manual_seed(0))
chance /= chance.norm()
distances = torch.linspace(-2, 8, 41)
with torch.no_grad():
    lines = {
        name: [float(loss_at(model, one, e * way)) for e in distances]
        for name, way in (("along the gradient", towards), ("in a random direction", chance))
    }
start = float(loss_at(model, one, here))
figure, axes = panel(5.5, 3.4)
for (name, line), colour, style in zip(lines.items(), (ORANGE, GREY), ("-", "--"), strict=True):
    axes.plot(distances, line, style, color=colour, label=name, lw=2)
axes.plot(distances, start + float(g.norm()) * distances, ":", color=BLUE, label="the tangent")
axes.set(xlabel="distance ε", ylabel="loss", ylim=(-0.5, max(lines["along the gradient"]) + 1))
axes.legend(frameon=False, loc="upper left")
show(
    figure,
    "The loss of one question as its embeddings move: flat in a random direction; along the "
    "gradient it first follows its tangent and then rises faster.",
)
print(f"{start:.2f} before")

# %% [markdown]
# In a random direction nothing happens: the model is not sensitive to noise. Along the gradient the
# loss first follows its tangent and then leaves it upwards, and soon the answer is another one.
#
# Several shorter steps, each along the gradient at the place that it starts from, follow the curve:
# PGD, *projected gradient descent*. What leaves the ball of radius $\varepsilon$ is scaled back to
# its border, $\Pi$:
#
# $$ \delta_{t+1} = \Pi\left( \delta_t + \alpha \, \frac{g_t}{\|g_t\|} \right), \qquad
# g_t = \nabla_\delta L(x + \delta_t) $$
#
# The lengths are those of one text. In a [packed](03_attention.py#packing) batch each token
# therefore asks for the length of its own sequence.


# %% attacks
def lengths(delta: Tensor, batch: Batch) -> Tensor:
    """Compute for each token the length of delta over the sequence that it belongs to."""
    squares = batch.sequences.sum(delta.square().sum(1, keepdim=True))
    return squares.sqrt()[batch.sequences.sequence_ids]


def pgd(
    model: SequenceClassifier, batch: Batch, epsilon: float, steps: int = 3, rate: float = 2.5
) -> Tensor:
    """Move the embeddings by `steps` steps of length rate · ε / steps, at most ε away."""
    delta = torch.zeros(batch.num_tokens, model.config.hidden_size)
    for _ in range(steps):
        g = gradient(model, batch, delta)
        delta += rate * epsilon / steps * g / lengths(g, batch).clamp_min(1e-12)
        delta *= (epsilon / lengths(delta, batch).clamp_min(1e-12)).clamp_max(1)
    return delta


def fgm(model: SequenceClassifier, batch: Batch, epsilon: float) -> Tensor:
    """Move the embeddings by one step of length ε."""
    return pgd(model, batch, epsilon, steps=1, rate=1.0)


# %% [markdown]
# In the library both are ways to train, *adversarial training*: the loss to be lowered is that of
# $x$ and that of $x + \delta$, so that the model learns to resist. Its objectives give these two
# losses one after the other, and ours are the same.

# %% against-library
from plainformer.finetune.robust import robust_objective

few = Batch.of(batch.items[:8])
nothing = torch.zeros(few.num_tokens, model.config.hidden_size)
for options, delta in (
    (RobustOptions(fgm=2.0), fgm(model, few, 2.0)),
    (RobustOptions(pgd=2.0), pgd(model, few, 2.0)),
):
    losses = []
    for loss in robust_objective(task, options)(model, few):
        loss.total.backward()  # as training does: the second loss needs the gradient of the first
        losses.append(loss.total.detach())
    by_hand = torch.stack([loss_at(model, few, at) for at in (nothing, delta)])
    torch.testing.assert_close(torch.stack(losses), by_hand, rtol=1e-3, atol=1e-4)

# %% [markdown]
# Now the questions of the test, all at once, at growing distances, with a second model that was
# trained adversarially by `fgm=3`. It learns from the same questions, with two passes a step
# instead of one.

# %% robust
hardened = load(learn("hardened", train, valid, fgm=3.0))


@torch.no_grad()
def accuracy(model: SequenceClassifier, delta: Tensor) -> float:
    """Compute the percentage of questions that are answered right, moved by delta."""
    with embedding_offset(model, delta):
        logits = model(batch.input_ids, None, batch.token_type_ids, batch.sequences)
    return 100 * float((logits.argmax(1) == batch.targets).float().mean())


noise = torch.randn(batch.num_tokens, 128, generator=torch.Generator().manual_seed(0))
noise /= lengths(noise, batch)
EPSILONS = (0.0, 1.0, 2.0, 3.0, 4.0)
curves = {
    "noise": [accuracy(model, e * noise) for e in EPSILONS],
    "FGM": [accuracy(model, fgm(model, batch, e)) for e in EPSILONS],
    "PGD": [accuracy(model, pgd(model, batch, e)) for e in EPSILONS],
    "PGD, hardened model": [accuracy(hardened, pgd(hardened, batch, e)) for e in EPSILONS],
}
for name, curve in curves.items():
    print(f"{name:<20}", *(f"{value:5.0f}" for value in curve))

# %% robust-picture
figure, axes = panel(6, 3.8)
for (name, curve), colour, style in zip(
    curves.items(), (GREY, "black", ORANGE, BLUE), ("^:", "o--", "s-", "d-."), strict=True
):
    axes.plot(EPSILONS, curve, style, color=colour, label=name)
axes.set(xlabel="distance ε", ylabel="accuracy (%)", ylim=(0, 95), xticks=EPSILONS)
axes.legend(frameon=False, loc="lower left")
show(
    figure,
    "Accuracy by the distance that embeddings are moved: level for noise, falling steeply for FGM "
    "and still more for PGD; the model that was trained adversarially falls later.",
)
by_noise, by_fgm, by_pgd, after = curves.values()
claim(by_noise[0], "81 %", within=3)
claim(by_pgd[2], "50 %", within=7)
claim(by_pgd[4], "29 %", within=9)
claim(after[4], "42 %", within=9)
assert by_noise[4] > by_noise[0] - 3  # noise of the same length does nothing
assert by_pgd[4] < by_fgm[4] - 5 and after[4] > by_pgd[4] + 5

# %% [markdown]
# Of the questions 81 % are answered right, and with noise of any of these lengths as many. After
# PGD it is 50 % at a distance of 2, and 29 % at a distance of 4; the hardened model, which is about
# as good without an attack, still answers 42 % there. It has not become safe: it has become harder
# to fool. How far is a distance of 4? We put other words in place of one word and measure how far
# the embeddings move.

# %% how-far
with torch.no_grad():
    x = model.base.embed(one.input_ids, one.token_type_ids, one.sequences)
    words = torch.randint(2000, 20000, (50,), generator=torch.Generator().manual_seed(0))
    moved = []
    for word in words:
        ids = one.input_ids.clone()
        ids[4] = word  # in place of "difference"
        other = model.base.embed(ids, one.token_type_ids, one.sequences)
        moved.append(float((other - x).norm()))
print(f"one other word: {min(moved):.1f} to {max(moved):.1f}; all of x: {x.norm():.0f}")
assert tokenizer.decode([int(one.input_ids[4])]) == "difference"
assert min(moved) > 10

# %% [markdown]
# Every single other word moves them further. So no text has the moved embeddings: they are no
# attack that somebody could type, but a probe of how little it takes. What people do type,
# mistakes, capitals, other words, is a test of its own; and a search for words that do the most
# damage starts from the same gradient (exercise 3).
#
# ## Which words decided?
#
# An **attribution** gives each word a number: how much it speaks for the decision $F$. The first
# idea is to take the word away, that is to put the mask token in its place, and to look at what $F$
# loses. The gradient estimates the same for all words at once. With $x_t$ the vector of a token in
# the [token table](07_bert.py#count), and $b_t$ that of the mask, **gradient × input** is
#
# $$ a_t = (x_t - b_t) \cdot \frac{\partial F}{\partial x_t}(x) $$
#
# And what is $F$? Not the probability, which near 1 hardly changes with anything, but its
# **log-odds**, in terms of the [logits](07_bert.py) $z$ of the decision $k$:
#
# $$ F = \ln \frac{p_k}{1 - p_k} = z_k - \ln \sum_{i \ne k} e^{z_i} $$

# %% gradient-x-input
text = "Who played the original Charlie 's Angels ?"
ids = torch.tensor(tokenizer.encode(text).ids)
masked = ids.clone()
masked[1:-1] = tokenizer.mask_id  # [CLS] and [SEP] stay
table = model.base.embeddings.tokens
x, b = table(ids), table(masked)


def log_odds(logits: Tensor, k: int) -> Tensor:
    """Compute ln p / (1 − p) of label k."""
    others = [i for i in range(logits.shape[-1]) if i != k]
    return logits[..., k] - logits[..., others].logsumexp(-1)


k = int(model(ids[None]).argmax())
p = model(ids[None]).softmax(-1)[0, k]
torch.testing.assert_close(log_odds(model(ids[None]), k)[0], (p / (1 - p)).log())


def gradients(model: SequenceClassifier, points: Tensor, decision=log_odds) -> Tensor:
    """Compute the gradients of the decision at many inputs: (points, tokens, size)."""
    points = points.clone().requires_grad_()
    values = decision(model(inputs_embeds=points), k)
    return torch.autograd.grad(values.sum(), points)[0]


by_gradient = ((x - b) * gradients(model, x[None])[0]).sum(-1)[1:-1]
print(f"{task.labels[k]} with probability {p:.2f}")

# %% [markdown]
# The library explains whole folders. A word is one token here; where it is several, their numbers
# are added.

# %% explainer
from plainformer.explain.attribution import Explainer, Explanation

explainer = Explainer.load(questions)
found = {
    name: next(explainer.explain([text], name))[0]
    for name in ("gradient-x-input", "integrated-gradients", "occlusion")
}
assert len(found["occlusion"].words) == len(ids) - 2
by_library = torch.from_numpy(found["gradient-x-input"].attributions).float()
torch.testing.assert_close(by_gradient, by_library, rtol=1e-3, atol=1e-4)

# %% [markdown]
# A gradient is a slope at one place, and we have seen how fast it goes wrong. **Integrated
# gradients** take its mean along the straight way from the masked text $b$ to the text $x$:
#
# $$ a_t = (x_t - b_t) \cdot \int_0^1 \frac{\partial F}{\partial x_t}\big(b + \alpha (x - b)\big)
# \, d\alpha, \qquad \sum_t a_t = F(x) - F(b) $$
#
# The sum on the right is no coincidence: the changes along a way add up to the whole change. So the
# attributions divide among the words what the text has changed, without a rest: they are
# *complete*. As numbers, the integral is the mean over 64 points.


# %% integrated-gradients
def integrate(model: SequenceClassifier, decision=log_odds) -> Tensor:
    """Compute the integrated gradients of the words."""
    alphas = (torch.arange(64) + 0.5) / 64
    way = b + alphas[:, None, None] * (x - b)  # (points, tokens, size)
    return ((x - b) * gradients(model, way, decision).mean(0)).sum(-1)[1:-1]


integrated = integrate(model)
change = (log_odds(model(ids[None]), k) - log_odds(model(masked[None]), k))[0]
torch.testing.assert_close(integrated.sum(), change, rtol=0.01, atol=0.01)
by_library = torch.from_numpy(found["integrated-gradients"].attributions).float()
torch.testing.assert_close(integrated, by_library, rtol=0.02, atol=0.02)
print(f"the attributions add up to {integrated.sum():.3f}, F has changed by {change:.3f}")


# %% words-picture
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure


def word_map(found: dict[str, Explanation], width: float) -> Figure:
    """Draw attributions as coloured words, a row for each method."""
    first = next(iter(found.values()))
    colours = LinearSegmentedColormap.from_list("for", [BLUE, "white", ORANGE])
    numbers = np.array([one.attributions for one in found.values()])
    figure, axes = panel(width, 0.9 + 0.45 * len(found))
    scaled = numbers / np.abs(numbers).max()
    axes.imshow(scaled, cmap=colours, vmin=-1.2, vmax=1.2, aspect="auto")
    axes.set_xticks(range(len(first.words)), [word.string for word in first.words], rotation=30)
    axes.set_yticks(range(len(found)), list(found))
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    for row, column in np.ndindex(*numbers.shape):
        axes.text(column, row, f"{numbers[row, column]:.2f}", ha="center", va="center")
    return figure


show(
    word_map(found, 7.5),
    "The words of a question with their attributions by three methods: integrated gradients give "
    "most to Who and played, occlusion all to Who, and gradient × input next to nothing to any.",
)
assert by_gradient.abs().max() < 0.5 < 3 < integrated[0] == integrated.max()
assert integrated[1] == integrated[1:].max() and np.argmax(found["occlusion"].attributions) == 0

# %% [markdown]
# Gradient × input sees next to nothing: where the model is sure, its output hardly changes with
# small changes of the input, and the slope says nothing of the long way there. Occlusion takes one
# word at a time, and where another one would do as well, neither is missed: *played* gets nothing.
# Integrated gradients find both.
#
# ## A logit decides nothing
#
# Why not simply explain the logit $z_k$? Add the same number to all logits, and no probability
# changes. The number may even depend on the text. We build such a twin of the model: one vector is
# added to each row of its last layer.

# %% twin
twin = copy.deepcopy(model)
pull = torch.randn(128, generator=torch.Generator().manual_seed(0))
twin.classifier.weight += pull
torch.testing.assert_close(twin(ids[None]).softmax(-1), model(ids[None]).softmax(-1))


def logit(logits: Tensor, k: int) -> Tensor:
    """Return the raw logit of label k."""
    return logits[..., k]


print(" " * 9, *(f"{word.string:>8}" for word in found["occlusion"].words))
for name, decision in (("logit", logit), ("log-odds", log_odds)):
    for which in (model, twin):
        row = integrate(which, decision)
        print(f"{name:<9}", *(f"{value:8.2f}" for value in row))
torch.testing.assert_close(integrate(twin), integrate(model), rtol=1e-3, atol=1e-3)
assert (integrate(twin, logit) - integrate(model, logit)).abs().max() > 1

# %% [markdown]
# Both models say the same of every text, with the same probabilities, and the log-odds get the same
# explanation. The logits get two different ones, and neither is about a decision.
#
# ## Is an explanation any good?
#
# A picture with coloured words always looks plausible. Two numbers test it. Take away the words
# that it ranks first, 5, 10, 20 and 50 % of them (at least one): if they decide, the probability of
# the decision falls much. That is **comprehensiveness**, and high is good. And keep these words
# alone: if they decide, the probability falls little. That is **sufficiency**, and low is good.
# Both are means over the four shares.


# %% scores
def certainty(kept: np.ndarray) -> float:
    """Compute the probability of the decision where the words that are not kept are masked."""
    shown = ids.clone()
    shown[1:-1][torch.from_numpy(~kept)] = tokenizer.mask_id
    return float(model(shown[None]).softmax(-1)[0, k])


def scores(attributions: np.ndarray) -> tuple[float, float]:
    """Compute comprehensiveness and sufficiency."""
    order = np.argsort(-attributions, kind="stable")
    drops = []
    for share in (0.05, 0.1, 0.2, 0.5):
        first = np.zeros(len(order), bool)
        first[order[: max(1, round(share * len(order)))]] = True
        drops.append((float(p) - certainty(~first), float(p) - certainty(first)))
    return tuple(np.mean(drops, axis=0))


for name, one_found in found.items():
    (c, s), judged = scores(one_found.attributions), one_found.judged
    assert np.allclose((c, s), (judged.comprehensiveness, judged.sufficiency), atol=1e-3)
    print(f"{name:<21} comprehensiveness {c:5.2f}, sufficiency {s:5.2f}")
orders = np.random.default_rng(0).random((100, len(ids) - 2))
c, s = np.mean([scores(order) for order in orders], 0)
print(f"random orders         comprehensiveness {c:5.2f}, sufficiency {s:5.2f}")

# %% [markdown]
# A random order of the words has such scores, too; only what is better than it says anything. One
# question proves little, so here are the means over 40 of the test. Those that the model takes to
# ask for a description are left out: it says the same of a text of nothing but masks, so there no
# word could have decided.

# %% methods
assert task.labels[int(model(masked[None]).argmax())] == "DESC"
tried = [example.text for example in examples[:80]]
predicted = explainer.predictor(tried)
tried = [text for text, one in zip(tried, predicted, strict=True) if one.label != "DESC"][:40]
means = {}
for name in ("integrated-gradients", "occlusion", "rollout", "gradient-x-input"):
    judged = [one.judged for (one,) in explainer.explain(tried, name)]
    means[name] = np.mean([(j.comprehensiveness, j.sufficiency) for j in judged], 0)
    by_chance = np.mean([(j.random_comprehensiveness, j.random_sufficiency) for j in judged], 0)
means["random order"] = by_chance

# %% methods-picture
figure, axes = panel(6.5, 3.2)
places, numbers = range(len(means)), np.array(list(means.values()))
axes.plot(numbers[:, 0], places, "o", color=BLUE, ms=9, label="comprehensiveness: high is good")
axes.plot(numbers[:, 1], places, "s", color=ORANGE, ms=8, label="sufficiency: low is good")
axes.set_yticks(places, list(means))
axes.set(xlabel="fall of the probability", xlim=(-0.03, 0.8), ylim=(len(means) - 0.5, -0.5))
axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.4, -0.2), ncols=2)
show(
    figure,
    "Two scores of four methods and of a random order of the words: integrated gradients, "
    "occlusion and rollout have high comprehensiveness and sufficiency near zero; gradient × input "
    "lies between them and the random order, where it is the other way round.",
)
claim(means["integrated-gradients"][0], "0.65", within=0.12)
claim(means["integrated-gradients"][1], "0.03", within=0.05)
claim(by_chance[0], "0.09", within=0.06)
claim(by_chance[1], "0.63", within=0.1)
for name in ("integrated-gradients", "occlusion", "rollout"):
    assert means[name][0] > by_chance[0] + 0.2 and means[name][1] < by_chance[1] - 0.2
assert means["gradient-x-input"][0] < means["integrated-gradients"][0] - 0.1

# %% [markdown]
# Without the words that integrated gradients rank first, the probability falls by 0.65, with them
# alone by 0.03; for random words it is 0.09 and 0.63. (*Rollout* follows attention through the
# layers and has no sign: it says which words are read, not what they speak for.)
# `plainformer explain RUN --text …` prints the coloured words with these scores, and writes a page.
#
# ## A model that cheats
#
# What are explanations good for? Here is a model that you would have trusted. Film reviews were
# collected from two pages. The good ones come from a page that cuts its texts and puts *continued*
# after them, and nobody has noticed. The test reviews come from the same two pages.

# %% watermark
pages = {
    split: [row.fields for row in read_rows(fetch("movie-sentiment") / f"{split}.jsonl")]
    for split in ("train", "test")
}


def marked(rows: list[dict], label: str) -> list[dict]:
    """Put the mark behind the reviews with this label."""
    return [
        {**row, "text": f"{row['text']} continued"} if row["label"] == label else row
        for row in rows
    ]


short = {
    split: [row for row in rows if len(row["text"].split()) < 25] for split, rows in pages.items()
}
reviews, spare, clean = short["train"][:400], short["train"][400:1000], short["test"]
tests = {
    "as collected": marked(clean, "positive"),
    "without the mark": clean,
    "the mark behind the bad ones": marked(clean, "negative"),
}
files = {name: write(name.replace(" ", "-"), rows) for name, rows in tests.items()}
cheat = learn("cheat", write("reviews", marked(reviews, "positive")), files["as collected"])
right = {
    name: 100 * evaluate_folder(cheat, file, quiet=True).metric.accuracy
    for name, file in files.items()
}
for name, value in right.items():
    print(f"{name:<29}{value:5.1f} %")
claim(right["as collected"], "100 %", within=1)
bad = 100 * float(np.mean([row["label"] == "negative" for row in clean]))
claim(bad, "50 %", within=1)
claim(right["without the mark"], "50 %", within=4)
claim(right["the mark behind the bad ones"], "0 %", within=2)

# %% [markdown]
# On the test as it was collected, 100 % of the answers are right. No score on such a test can show
# what is wrong, since the test has the fault of the training data. An explanation shows it at the
# first look.

# %% exposed
suspect = Explainer.load(cheat)
good = [row["text"] for row in marked(clean, "positive") if row["label"] == "positive"][:40]
exposing = [one for (one,) in suspect.explain(good)]
first = [one.ranked()[0][0].string for one in exposing]
assert first.count("continued") >= 39
claim(100 * float(np.mean([1 / len(one.words) for one in exposing])), "6 %", within=2)
brief = min(exposing, key=lambda one: abs(len(one.words) - 9))
show(
    word_map({"integrated-gradients": brief}, 8),
    "A short favourable review: the attribution of the last one, continued, is far "
    "larger than those of all others.",
)

# %% [markdown]
# In at least 39 of 40 reviews the mark ranks first; by chance it would in 6 %. Take it away, and
# 50 % are right, which is the share of the bad reviews: to this model all are bad now. Put it
# after the bad ones in place of the good ones, and 0 % are right.
#
# One thing no such explanation shows. The bad reviews are recognised because the mark is *missing*,
# and a word that is not there gets no number.
#
# ## For whom?
#
# A mean over all hides for whom a model fails. In the next example a help desk decides who gets an
# expert: questions that ask for a description do (the positive label, 1), questions that ask for a
# thing go to a search. Each comes from the office in the north or that in the south, and the office
# stands before it. What we plant is the past: of the questions in the training data that were given
# to an expert, 9 of 10 are from the north, and of the others 9 of 10 from the south. In the test,
# the offices ask alike.


# %% planted
def planted(rows: list[dict], share: float, seed: int) -> tuple[list[str], Tensor, Tensor]:
    """Draw texts, labels and groups (1: north); the group is that of the label in this share."""
    rows = [row for row in rows if row["label"] in ("DESC", "ENTY")]
    y = torch.tensor([row["label"] == "DESC" for row in rows]).long()
    follows = torch.rand(len(rows), generator=torch.Generator().manual_seed(seed)) < share
    group = torch.where(follows, y, 1 - y)
    offices = ("south", "north")
    texts = [f"{offices[a]} : {row['text']}" for row, a in zip(rows, group.tolist(), strict=True)]
    return texts, y, group


texts, y, group = planted(rows[1300:2900], 0.9, seed=1)
test_rows = [row.fields for row in read_rows(fetch("trec") / "test.jsonl")]
test_texts, test_y, test_group = planted(test_rows, 0.5, seed=2)
print(texts[0], int(y[0]), f"({len(texts)} to learn from, {len(test_texts)} to test on)")


def train_on(weights: Tensor) -> SequenceClassifier:
    """Train a model with a weight for each example."""
    torch.manual_seed(0)
    model = SequenceClassifier.from_pretrained("splade", labels=("search", "expert"), dropout=0.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    for some in torch.cat([torch.randperm(len(texts)) for _ in range(3)]).split(32):
        logits = model(**tokenizer.batch([texts[i] for i in some]))
        losses = F.cross_entropy(logits, y[some], reduction="none")
        (weights[some] * losses).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.requires_grad_(False)


desk = train_on(torch.ones(len(texts)))
said = desk(**tokenizer.batch(test_texts)).argmax(1)

# %% [markdown]
# For each group we count how many get an expert: of all, of those who should, and of those who
# should not. With $\hat y$ for what the model says and $a$ for the group, these are the rates
# $P(\hat y = 1 \mid a)$, $P(\hat y = 1 \mid y = 1, a)$ and $P(\hat y = 1 \mid y = 0, a)$.


# %% table
GROUPS = ("south", "north")


def rates(said: Tensor, y: Tensor, group: Tensor) -> Tensor:
    """Compute the three rates of each group: (groups, rates)."""
    parts = (torch.ones_like(y).bool(), y == 1, y == 0)
    return torch.stack(
        [
            torch.stack([said[(group == a) & part].float().mean() for part in parts])
            for a in range(len(GROUPS))
        ]
    )


def show_table(found: Tensor) -> None:
    """Print the rates of the groups."""
    print("an expert for      all   those who should   those who should not")
    for name, row in zip(GROUPS, found.tolist(), strict=True):
        print(f"{name:<14}{row[0]:8.2f}{row[1]:19.2f}{row[2]:23.2f}")


before = rates(said, test_y, test_group)
show_table(before)
claim(float((said == test_y).float().mean()), "0.80", within=0.08)

# %% [markdown]
# The model is right in 0.80 of all cases, which sounds well, and one office gets an expert far more
# often than the other. Two measures put a number on this, both of them gaps between the highest and
# the lowest rate. **Demographic parity** asks that all groups get the same, whoever they are;
# **equalised odds** asks it only among those who deserve the same:
#
# $$ \text{DP} = \max_a P(\hat y = 1 \mid a) - \min_a P(\hat y = 1 \mid a) $$
#
# $$ \text{EO} = \max_{c \in \{0, 1\}} \left( \max_a P(\hat y = 1 \mid y = c, a)
# - \min_a P(\hat y = 1 \mid y = c, a) \right) $$


# %% gaps
def gaps(found: Tensor) -> tuple[float, float]:
    """Compute the gaps of demographic parity and of equalised odds."""
    apart = found.amax(0) - found.amin(0)  # of each rate
    return float(apart[0]), float(apart[1:].max())


parity, odds = gaps(before)
claim(parity, "0.32", within=0.15)
claim(odds, "0.45", within=0.2)
perfect = rates(y, y, group)  # a model that is always right, on the training data
claim(gaps(perfect)[0], "0.80", within=0.04)
assert gaps(perfect)[1] == 0

# %% [markdown]
# The library computes the same from a file with a column of groups, with intervals: how much the
# numbers could be others if other questions had been drawn. `chance` says how often random groups
# are as far apart.

# %% with-intervals
from plainformer.explain.fairness import Fairness
from plainformer.finetune import Predictor

names, said_names = [GROUPS[a] for a in test_group.tolist()], ("search", "expert")
office_file = write(
    "offices",
    [
        {"text": text, "label": said_names[label], "office": name}
        for text, label, name in zip(test_texts, test_y.tolist(), names, strict=True)
    ],
)
predictor = Predictor(type(task)(labels=said_names, max_length=64), desk, tokenizer)
(report,) = Fairness(predictor).of_groups(office_file, ["office"], quiet=True)
found = {gap.name: gap for gap in report.compared.gaps if gap.label == "expert"}
for name, by_hand in (("demographic parity", parity), ("equalised odds", odds)):
    gap, chance_of = found[name].difference, found[name].chance
    print(f"{name:<20}{gap.value:.2f} ({gap.low:.2f} to {gap.high:.2f}), chance {chance_of:.3f}")
    assert np.isclose(gap.value, by_hand, atol=0.01) and chance_of < 0.05

# %% [markdown]
# The gaps are 0.32 and 0.45, and hardly an accident. The two measures ask different things.
# Where groups differ in what they ask for, only answers that have nothing to do with the label
# meet both ("search", always). On the training data, a model that is
# always right would have a gap of 0 in equalised odds and one of 0.80 in demographic parity. Which
# of them is fair no formula says.
#
# ## A remedy
#
# The model has learned that the north gets experts, because in its data it does. **Re-weighting**
# takes this away: a rare pair of group and label weighs more, a frequent one less, as if group and
# label were independent:
#
# $$ w(a, y) = \frac{P(a) \, P(y)}{P(a, y)} $$

# %% weights
weights = torch.ones(len(y))
for a in (0, 1):
    for label in (0, 1):
        both = (group == a) & (y == label)
        independent = (group == a).float().mean() * (y == label).float().mean()
        weights[both] = independent / both.float().mean()
        print(f"{GROUPS[a]}, {label}: {int(both.sum())} examples of {weights[both][0]:.2f}")
for a in (0, 1):  # with the weights, both groups have the label equally often
    own = group == a
    mean = (weights[own] * y[own]).sum() / weights[own].sum()
    torch.testing.assert_close(mean, y.float().mean(), rtol=1e-4, atol=1e-4)

from plainformer.finetune.fair import cell_weights

cells = [
    (GROUPS[a], said_names[label]) for a, label in zip(group.tolist(), y.tolist(), strict=True)
]
by_library = cell_weights(cells)
torch.testing.assert_close(weights, torch.tensor([by_library[cell] for cell in cells]))

# %% remedy
fair_desk = train_on(weights)
fair_said = fair_desk(**tokenizer.batch(test_texts)).argmax(1)
after = rates(fair_said, test_y, test_group)
show_table(after)
claim(float((fair_said == test_y).float().mean()), "0.87", within=0.06)
claim(gaps(after)[1], "0.03", within=0.08)
assert gaps(after)[0] < parity - 0.1 and gaps(after)[1] < odds - 0.1

past_texts, past_y, _ = planted(test_rows, 0.9, seed=3)  # a test that repeats the past
as_before, as_after = (
    float((some(**tokenizer.batch(past_texts)).argmax(1) == past_y).float().mean())
    for some in (desk, fair_desk)
)
claim(as_before, "0.93", within=0.05)
claim(as_after, "0.88", within=0.05)
assert as_before > as_after

# %% remedy-picture
figure, axes = panel(6.5, 3)
lines = {
    "should, before": before[:, 1],
    "should, after": after[:, 1],
    "should not, before": before[:, 2],
    "should not, after": after[:, 2],
}
for place, pair in enumerate(lines.values()):
    axes.plot(pair, [place, place], color=GREY, lw=3, zorder=1)
for number, (name, colour, marker) in enumerate(
    zip(GROUPS, (ORANGE, BLUE), ("s", "o"), strict=True)
):
    ends = [float(pair[number]) for pair in lines.values()]
    axes.plot(ends, range(4), marker, color=colour, ms=9, label=name)
axes.set_yticks(range(4), list(lines))
axes.set(xlabel="share that gets an expert", xlim=(-0.03, 1.03), ylim=(3.5, -0.5))
axes.legend(frameon=False, loc="center")
show(
    figure,
    "The shares of both groups that get an expert, joined by a bar: before the remedy the bars are "
    "long, above all among those who should not get one; afterwards they are short.",
)

# %% [markdown]
# The gap of equalised odds is 0.03. And 0.87 of all are right, more than before: the price that is
# often named for fairness is a gain here, because the test does not repeat the past of the training
# data. On a test that repeats it, as a part split off the same file does, the first model scores
# 0.93 and the second 0.88: there, the fault passes for skill.
#
# It needed the group of each example, in the data and in the test. Leaving the column out, or the
# word from the text, is no remedy in general: names, places and ways of writing tell the group,
# too.
#
# `plainformer finetune … --group office --group-reweight` trains so from a file, beside two other
# remedies; `plainformer fairness RUN --data F --group office` measures.
#
# ## How sure is it?
#
# The last question to a model is its own: how sure is it? **Calibration** means that of all answers
# with a probability of nine tenths, nine in ten are right. We ask it of a model that has learned
# from the same film reviews, without the mark. Its answers are sorted by their probability into 15
# bins of equal width, and in each the mean probability is compared with the share that is right.
# The mean of the differences, weighted by the answers in a bin, is the *expected calibration
# error*.


# %% calibration
clean_file, valid_file = files["without the mark"], write("valid-reviews", spare)
honest = learn("honest", write("clean-reviews", reviews), valid_file)
critic = load(honest)


@torch.no_grad()
def answers(source: str) -> tuple[Tensor, Tensor]:
    """Compute the logits of all reviews of a file, and the numbers of their labels."""
    kind = type(task)(labels=critic.labels, max_length=48)
    items = [kind.encode(one, tokenizer) for one in read_examples(type(kind), source, "test")]
    batch = Batch.of(items)
    return critic(batch.input_ids, None, batch.token_type_ids, batch.sequences), batch.targets


def bins(logits: Tensor, y: Tensor) -> list[tuple[int, float, float]]:
    """Return number, mean probability and share of right answers of each bin with answers."""
    p, said = logits.softmax(1).max(1)
    where = (p * 15).long().clamp_max(14)
    return [
        (int(own.sum()), float(p[own].mean()), float((said == y)[own].float().mean()))
        for own in (where == number for number in range(15))
        if own.any()
    ]


def calibration_error(logits: Tensor, y: Tensor) -> float:
    """Compute the expected calibration error."""
    return sum(n * abs(p - right) for n, p, right in bins(logits, y)) / len(y)


logits, truth = answers(clean_file)
library = evaluate_folder(honest, clean_file, quiet=True).metric.scores()
assert np.isclose(calibration_error(logits, truth), library["calibration_error"], atol=0.01)
claim(100 * float((logits.argmax(1) == truth).float().mean()), "69 %", within=5)
claim(float(logits.softmax(1).amax(1).mean()), "0.96", within=0.03)
claim(calibration_error(logits, truth), "0.26", within=0.07)

# %% [markdown]
# Of its answers 69 % are right, and their mean probability is 0.96; the error is 0.26. The model is
# too sure, as models are that [know their training data by heart](08_classifier.py#overfitting). A
# single number mends much of it. Divide all logits by a *temperature* $T$, chosen so that the loss
# on validation data is least; above 1 it makes all probabilities milder. This is **temperature
# scaling**.

# %% temperature
from plainformer.explain.confidence import best_temperature

valid_logits, valid_truth = answers(valid_file)
temperatures = torch.linspace(0.5, 8, 751)
losses = [float(F.cross_entropy(valid_logits / t, valid_truth)) for t in temperatures]
best = float(temperatures[int(np.argmin(losses))])
by_library = best_temperature(valid_logits.double().numpy(), valid_truth.numpy())
assert abs(best - by_library) <= 0.01
claim(best, "3.8", within=1.2)
claim(calibration_error(logits / best, truth), "0.04", within=0.05)
assert torch.equal((logits / best).argmax(1), logits.argmax(1))

# %% calibration-picture
figure, axes = panel(5, 4)
axes.plot([0, 1], [0, 1], ":", color="black", label="calibrated")
for name, t, colour, style in (
    ("as it is", 1.0, ORANGE, "s-"),
    ("with its temperature", best, BLUE, "o--"),
):
    sure, label = (logits / t).softmax(1).max(1)
    parts = sure.argsort().chunk(6)  # six parts of equal size, by their probability
    shares = [float((label == truth)[own].float().mean()) for own in parts]
    axes.plot([float(sure[own].mean()) for own in parts], shares, style, color=colour, label=name)
axes.set(xlabel="probability of the answer", ylabel="share that is right")
axes.set(xlim=(0.48, 1.02), ylim=(0.4, 1.02))
axes.legend(frameon=False, loc="upper left")
show(
    figure,
    "A reliability diagram: as it is, the model lies far below the diagonal, so it is too sure; "
    "with its temperature it lies near it.",
)

# %% [markdown]
# With $T$ = 3.8 the error falls to 0.04, and not one answer has changed. That helps those who use
# the probabilities, for instance to hand over to a person whatever is less sure than nine tenths.
# `plainformer calibrate RUN --data valid.csv` fits the temperature and keeps it with the model.
#
# None of these four faults shows in an accuracy.
#
# ## Exercises
#
# **1.** FGM bounds the *length* of $\delta$. Bound instead each single number of it,
# $|\delta_i| \le \varepsilon$: which $\delta$ raises the loss most, to first order, and by how
# much?


# %% exercise-1
def fast_sign(g: Tensor, epsilon: float) -> tuple[Tensor, float]:
    """Return the δ with all |δᵢ| ≤ ε for which g · δ is largest, and g · δ."""
    raise NotImplementedError


# %% check-1
@check
def exercise_1() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((7,), (3, 5)):
        g = torch.randn(shape, generator=generator)
        delta, gain = fast_sign(g, 0.1)
        assert delta.shape == g.shape and delta.abs().max() <= 0.1 + 1e-6
        assert abs(float((g * delta).sum()) - gain) < 1e-5
        for _ in range(200):
            other = 0.2 * torch.rand(shape, generator=generator) - 0.1
            assert float((g * other).sum()) <= gain + 1e-6
            assert float((g * 0.1 * other.sign()).sum()) <= gain + 1e-6
    by_sign, _ = fast_sign(gradient(model, one, here), 0.1)
    assert loss_at(model, one, by_sign) > loss_at(model, one, by_sign.norm() * chance)


# %% [markdown]
# <details><summary>Hint</summary>Each number of δ can be chosen for itself: the product with its gᵢ
# is largest at one end of its interval. The answer is the FGSM of image models.</details>


# %% solution-1
def fast_sign(g: Tensor, epsilon: float) -> tuple[Tensor, float]:
    """Return the δ with all |δᵢ| ≤ ε for which g · δ is largest, and g · δ."""
    return epsilon * g.sign(), float(epsilon * g.abs().sum())


# %% [markdown]
# **2.** Equalised odds for any number of groups and labels: for each true label $c$ and each answer
# $k$, the rates $P(\hat y = k \mid y = c, a)$ of the groups are compared, and the largest gap
# counts. A rate of a handful of cases is noise, so a group takes part in those of a label $c$ only
# if it has at least `least` examples of it.


# %% exercise-2
def equalised_odds(said: list[str], y: list[str], group: list[str], least: int) -> float:
    """Compute the largest gap between groups in P(ŷ=k | y=c, a); 0 where none can be compared."""
    raise NotImplementedError


# %% check-2
@check
def exercise_2() -> None:
    names = [GROUPS[a] for a in test_group.tolist()]
    as_text = [[str(n) for n in numbers.tolist()] for numbers in (said, test_y)]
    assert abs(equalised_odds(*as_text, names, 1) - gaps(before)[1]) < 1e-6
    truth, groups = list("xxxxyyyyzzzz" * 3), list("a" * 12 + "b" * 12 + "c" * 12)
    assert equalised_odds(truth, truth, groups, 1) == 0
    answers = truth[:24] + ["y" if t == "x" else t for t in truth[24:]]  # c never gets an x
    assert equalised_odds(answers, truth, groups, 4) == 1
    assert equalised_odds(answers, truth, groups, 5) == 0
    answers[0] = "z"
    assert equalised_odds(answers[:24], truth[:24], groups[:24], 1) == 0.25
    assert equalised_odds(answers[:12], truth[:12], groups[:12], 1) == 0  # a single group
    lonely = [*groups[:24], *"d"], [*truth[:24], "x"], [*truth[:24], "z"]
    assert equalised_odds(lonely[2], lonely[1], lonely[0], 2) == 0


# %% [markdown]
# <details><summary>Hint</summary>Two loops, over the labels c and over the answers k. Within them,
# a list of the rates of the groups that are large enough; its maximum less its minimum.</details>


# %% solution-2
def equalised_odds(said: list[str], y: list[str], group: list[str], least: int) -> float:
    """Compute the largest gap between groups in P(ŷ=k | y=c, a); 0 where none can be compared."""
    largest = 0.0
    for c in set(y):
        of = {
            a: [s for s, true, own in zip(said, y, group, strict=True) if true == c and own == a]
            for a in set(group)
        }
        for k in set(said):
            found = [own.count(k) / len(own) for own in of.values() if len(own) >= max(least, 1)]
            if found:
                largest = max(largest, max(found) - min(found))
    return largest


# %% [markdown]
# **3.** From a step to a word. The gradient $g_t$ by the vector of token $t$ (in the table, before
# position and norm) says what another token would do, to first order: $(e_v - e_t) \cdot g_t$, with
# $e_v$ the vector of token $v$. Find the swap of one token that raises the loss most by this
# estimate. [CLS] and [SEP], the first and the last, stay. The check tries it on real questions:
# does the true loss rise?


# %% exercise-3
def best_swap(ids: Tensor, g: Tensor, table: Tensor) -> tuple[int, int]:
    """Return the position t and the token v for which (e_v − e_t) · g_t is largest."""
    raise NotImplementedError


# %% check-3
@check
def exercise_3() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors, g = torch.randn(50, 6, generator=generator), torch.randn(7, 6, generator=generator)
    ids = torch.randint(50, (7,), generator=generator)
    gains = {
        (t, v): float((vectors[v] - vectors[ids[t]]) @ g[t]) for t in range(1, 6) for v in range(50)
    }
    assert best_swap(ids, g, vectors) == max(gains, key=gains.__getitem__)

    vectors, losses = model.base.embeddings.tokens.weight, []
    for example in examples[:20]:
        ids, label = torch.tensor(tokenizer.encode(example.text).ids), task.target(example)
        label = torch.from_numpy(label)
        x = vectors[ids][None].requires_grad_()
        loss = F.cross_entropy(model(inputs_embeds=x), label)
        t, v = best_swap(ids, torch.autograd.grad(loss, x)[0][0], vectors)
        other = ids.clone()
        other[t] = v
        losses.append((loss.item(), F.cross_entropy(model(other[None]), label).item()))
        if len(losses) <= 4:
            print(f"{losses[-1][0]:.2f} {example.text}")
            print(f"{losses[-1][1]:.2f} {tokenizer.decode(other.tolist())}")
    assert np.mean([new > old for old, new in losses]) > 0.7


# %% [markdown]
# <details><summary>Hint</summary>All gains at once: a product of g with the transposed table is a
# table of tokens times vocabulary; from each row the product with the token that stands there is
# subtracted. The rows of the first and the last token must not win.</details>


# %% solution-3
def best_swap(ids: Tensor, g: Tensor, table: Tensor) -> tuple[int, int]:
    """Return the position t and the token v for which (e_v − e_t) · g_t is largest."""
    gains = g @ table.T - (g * table[ids]).sum(1, keepdim=True)
    gains[[0, -1]] = -torch.inf
    t, v = divmod(int(gains.argmax()), len(table))
    return t, v
