# %% [markdown]
# # Tagging words
#
# Some tasks want an answer for every word: is it part of a name, and of what kind? You will see how
# words and tokens are lined up, how tags mark names of several words, and how a *conditional random
# field* weighs the tags of a whole sentence together. Then two small taggers are trained, one with
# it and one without, and you will see why a high accuracy can mean nothing.
#
# ## Words and tokens
#
# **Tagging** gives a tag to each word of a sentence. `B-LOC` begins the name of a place, `B-PER`
# begins the name of a person, `I-PER` continues it, and `O` is outside all names.

# %% sentence
from plainformer.corpora import Row
from plainformer.finetune.tasks.tagging import Sentence, Tagging


def sentence_of(words: str, tags: str) -> Sentence:
    return Tagging.read(Row({"words": words.split(), "tags": tags.split()}, "here", 1))


sentence = sentence_of("Zanzibar greets Tenzing Norgay .", "B-LOC O B-PER I-PER O")
for word, tag in zip(sentence.words, sentence.tags, strict=True):
    print(f"{word:10}{tag}")

# %% [markdown]
# The model reads [tokens](01_pieces.py), and a word may be several of them. Three things keep them
# together: the **word id** says which word a token belongs to, the **offsets** say which characters
# of that word it covers, and the **target** is the index of the tag.

# %% alignment
from plainformer.corpora import fetch
from plainformer.tokenizer import load_tokenizer

labels = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
tagging = Tagging(labels=labels, decoding="legal", max_length=128, overflow="truncate")
model_folder = fetch("splade")  # a small BERT: two layers, 128 wide
tokenizer = load_tokenizer(model_folder)
item = tagging.encode(sentence, tokenizer)
(tokens,), (targets,) = item.encodings, item.targets
print(f"{'token':10}{'word id':>8}{'offsets':>10}{'target':>8}")
for id, word_id, offsets, target in zip(
    tokens.ids, tokens.word_ids, tokens.offsets, targets, strict=True
):
    print(f"{tokenizer.token(id):10}{word_id!s:>8}{offsets!s:>10}{target:>8}")
assert [i for i, target in enumerate(targets) if target != -100] == [1, 4, 6, 8, 11]

# %% [markdown]
# Only the first token of a word has the word's tag as its target. All others have −100, and so have
# `[CLS]` and `[SEP]`: the loss leaves −100 out. So each word counts once, however the tokenizer
# cuts it. The loss is the [cross-entropy](08_classifier.py) of the rest,
#
# $$L = -\frac{1}{n} \sum_{t:\, y_t \ne -100} \log p(y_t \mid x).$$

# %% masked-loss
import torch
import torch.nn.functional as F

logits = torch.randn(len(targets), len(labels), generator=torch.Generator().manual_seed(0))
y = torch.from_numpy(targets)
kept = y != -100
by_formula = -logits.log_softmax(-1)[kept, y[kept]].mean()
torch.testing.assert_close(by_formula, F.cross_entropy(logits, y, ignore_index=-100))
print(f"{kept.sum()} of {len(y)} tokens count; loss {by_formula:.3f}")

# %% [markdown]
# ## Tags that mark names
#
# With B and I the tags say where a name ends and the next one begins, even side by side. The scheme
# is called **BIO** (with a B at the beginning of every name also IOB2). Names and tags can be
# turned into each other; `words[begin:end]` is the name.

# %% spans
from plainformer.finetune.tasks.tagging import iob2, spans

print(spans(sentence.tags))
print(spans(["B-LOC", "B-LOC", "I-LOC"]))  # two places side by side
assert iob2(spans(sentence.tags), length=5) == list(sentence.tags)

# %% [markdown]
# Not every sequence of tags has a meaning. `I-PER` continues a person, so it cannot follow `O` or a
# place, and cannot come first: such a sequence is **illegal**. Here is which tag may follow which.

# %% legal
from guide import BLUE, GREY, ORANGE, PALE_BLUE, check, claim, panel, show
from matplotlib.colors import ListedColormap

from plainformer.finetune.tasks.tagging import is_legal

allowed = [[is_legal(tag, before) for tag in labels] for before in labels]
figure, axes = panel(4, 3.4)
axes.imshow(allowed, cmap=ListedColormap(["white", PALE_BLUE]))
for i in range(5):
    for j in range(5):
        axes.text(j, i, "yes" if allowed[i][j] else "no", ha="center", va="center")
axes.set_xticks(range(5), labels)
axes.set_yticks(range(5), labels)
axes.grid(False)
axes.set(xlabel="tag", ylabel="tag before it")
show(figure, "A table of tags: I-LOC follows only B-LOC or I-LOC, I-PER only B-PER or I-PER.")

# %% [markdown]
# How many sequences are legal? We can ask about all of them, if the sentence is short.

# %% count-legal
from itertools import pairwise, product

paths = list(product(range(5), repeat=5))  # all tags of five words, as indices
legal = [
    path
    for path in paths
    if all(is_legal(labels[j], labels[i]) for i, j in pairwise((0, *path)))  # as if after an O
]
claim(100 * len(legal) / len(paths), "18 %", within=0.5)
print(f"{len(legal)} of {len(paths)} sequences are legal")

# %% [markdown]
# Only 18 % are. A model that chooses each tag by itself knows nothing of this. Suppose that it gave
# these scores to the tags of a sentence, one row for each word:

# %% greedy
words = ["Paris", "Hilton", "left", "New", "York"]
x = torch.tensor(
    [  # O   B-LOC I-LOC B-PER I-PER
        [0.0, 2.0, -1.0, 1.5, -1.0],  # Paris: a place or a person
        [0.0, 0.5, 0.0, 0.5, 2.0],  # Hilton: a family name
        [3.0, -1.0, -1.0, -1.0, -1.0],  # left
        [1.0, 2.0, 0.0, 0.0, 0.0],  # New
        [0.0, 1.0, 2.0, 0.0, 1.0],  # York
    ],
    dtype=torch.float64,
)
each = x.argmax(1).tolist()
print([labels[tag] for tag in each])
assert tuple(each) not in legal

# %% [markdown]
# `Paris` is a place, and `Hilton` continues a person: illegal. The remedy is to choose the
# *sequence* with the best sum of scores, among the legal ones. The project does so by default.

# %% best-legal
from plainformer.encoder import Sequences
from plainformer.finetune.tasks.tagging import Chain

one = Sequences.of([5])  # a batch of one sentence of five words
rules = Chain.legal(labels).like(x)
best = rules.best(x, one).tolist()
assert tuple(best) == max(legal, key=lambda path: sum(x[t, tag] for t, tag in enumerate(path)))
print([labels[tag] for tag in best])

# %% [markdown]
# The score of the neighbour was enough to make `Paris` the beginning of a person.
#
# ## Score the whole sentence: a CRF
#
# Rules say what is possible. A **conditional random field** (CRF) also learns what is likely: it
# has a score for the first tag, for each pair of neighbouring tags and for the last tag. The score
# of a path $y$ is the sum of all that it meets:
#
# $$s(x, y) = a_{y_1} + \sum_{t=1}^{n} x_{t,y_t} + \sum_{t=1}^{n-1} A_{y_t,\,y_{t+1}} + b_{y_n}$$
#
# $x$ comes from the encoder, and $A$ (the **transition scores**), $a$ and $b$ are parameters. Let
# ours prefer a name of two words to a name of one.

# %% path-score
from dataclasses import replace

likely = torch.zeros(5, 5)
likely[1, 2] = likely[3, 4] = 1.0  # B-LOC I-LOC, and B-PER I-PER
chain = replace(rules, transitions=rules.transitions + likely)


def score(path: tuple[int, ...]) -> torch.Tensor:
    """Return the score of a path, as the formula says."""
    words = sum(x[t, tag] for t, tag in enumerate(path))
    steps = sum(chain.transitions[i, j] for i, j in pairwise(path))
    return chain.start[path[0]] + words + steps + chain.end[path[-1]]


path = tuple(best)
torch.testing.assert_close(score(path), chain.score(x, torch.tensor(path), one)[0])
print(f"s(x, y) = {score(path):.1f}")

# %% [markdown]
# Scores become probabilities as in a [softmax](03_attention.py), except that it runs over all
# paths. Its denominator $Z$ is the **partition function**:
#
# $$p(y \mid x) = \frac{e^{s(x, y)}}{Z}, \qquad Z = \sum_{y'} e^{s(x, y')}$$
#
# With five words we can really add up all the paths.

# %% brute-force
scores = torch.stack([score(path) for path in paths])
log_z = scores.logsumexp(0)
torch.testing.assert_close(log_z, chain.log_partition(x, one)[0])
probability = (scores - log_z).exp()
torch.testing.assert_close(probability.sum(), torch.tensor(1.0, dtype=torch.float64))
for number in probability.argsort(descending=True)[:3].tolist():
    print(f"{probability[number]:.2f}", [labels[tag] for tag in paths[number]])
claim(float(probability.max()), "0.36", within=0.005)
assert paths[probability.argmax()] == tuple(best)

# %% [markdown]
# The best path has a probability of 0.36, the sum over all is 1, and $\log Z$ is what the project's
# CRF computes. It cannot have looked at every path: 30 words with 5 tags have more than $10^{20}$.
# The **forward algorithm** goes through the words once, and keeps one number for each tag: the sum
# over all paths that end there.
#
# $$\alpha_{1,j} = a_j + x_{1,j}, \qquad
# \alpha_{t,j} = x_{t,j} + \log \sum_i e^{\alpha_{t-1,i} + A_{i,j}}, \qquad
# \log Z = \log \sum_j e^{\alpha_{n,j} + b_j}$$

# %% forward
alpha = chain.start + x[0]
for t in range(1, 5):
    alpha = x[t] + (alpha[:, None] + chain.transitions).logsumexp(0)
torch.testing.assert_close((alpha + chain.end).logsumexp(0), log_z)
torch.testing.assert_close(alpha, chain.alphas(x, one)[-1])
print(f"paths of 30 words: {5**30:.1e}; terms of the forward algorithm: {29 * 5 * 5}")

# %% [markdown]
# With max in place of the sum it finds the best path: the [Viterbi algorithm](01_pieces.py) again,
# over tags now. We hold it against all the paths, for a hundred random sentences and chains.

# %% viterbi
generator = torch.Generator().manual_seed(0)
every = torch.tensor(paths)  # (3125, 5)
for _ in range(100):
    x_random = torch.randn(5, 5, generator=generator)
    random = Chain(*(torch.randn(size, generator=generator) for size in (5, (5, 5), 5)))
    totals = x_random[torch.arange(5), every].sum(1)
    totals = totals + random.transitions[every[:, :-1], every[:, 1:]].sum(1)
    totals = totals + random.start[every[:, 0]] + random.end[every[:, -1]]
    assert random.best(x_random, one).tolist() == every[totals.argmax()].tolist()
print("Viterbi found the best of all paths, a hundred times")

# %% [markdown]
# And backwards: the derivative of $\log Z$ by $x_{t,j}$ is the probability that word $t$ has tag
# $j$, over all paths. So the gradient of the loss $-\log p(y \mid x)$ is *predicted − true*, as for
# [a classifier](08_classifier.py), and autograd computes it.

# %% marginals
x.requires_grad_()
chain.log_partition(x, one).sum().backward()
marginals = x.grad
by_counting = torch.zeros_like(marginals)
for path, p in zip(paths, probability.detach(), strict=True):
    by_counting[torch.arange(5), torch.tensor(path)] += p
torch.testing.assert_close(marginals, by_counting)
claim(float(marginals[0, 3]), "0.66", within=0.005)

# %% trellis
figure, axes = panel(6, 3.4)
t, tag = torch.meshgrid(torch.arange(5), torch.arange(5), indexing="ij")
axes.scatter(t, tag, s=900 * marginals, color=PALE_BLUE, edgecolor=GREY)
axes.plot(each, "--s", color=ORANGE, label="each word by itself")
axes.plot(best, "-o", color=BLUE, label="the CRF's best path")
axes.set_xticks(range(5), words)
axes.set_yticks(range(5), labels)
axes.margins(0.12)
figure.legend(loc="outside upper center", ncols=2, frameon=False)
show(figure, "Each word alone makes Paris a place; the best path makes Paris Hilton a person.")

# %% [markdown]
# The area of a circle is the probability of a tag. `Paris` alone looked like a place; with its
# neighbour it is the beginning of a person with a probability of 0.66.
#
# ## Accuracy flatters
#
# Now real text: news in which the **named entities** are marked, persons, organisations, locations
# and others (CoNLL-2003). The laziest tagger says `O` for every word. We count by hand how good it
# is, and compare with the project's metric and with the public library seqeval.

# %% conll
import tempfile
from pathlib import Path

from plainformer.finetune import read_examples

workplace = tempfile.TemporaryDirectory()
folder = Path(workplace.name)


def some(split: str, count: int) -> list[str]:
    """Take `count` lines of a part of CoNLL-2003, spread over the whole of it."""
    lines = (fetch("conll2003") / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return lines[:: len(lines) // count][:count]


for split, count in (("train", 400), ("valid", 400)):
    (folder / f"{split}.jsonl").write_text("\n".join(some(split, count)), encoding="utf-8")
held_out = list(read_examples(Tagging, str(folder / "valid.jsonl"), "valid"))
print(held_out[3].text, held_out[3].tags)

# %% lazy
from seqeval.metrics import f1_score

from plainformer.finetune.tasks.tagging import EntityMetric

true = [list(sentence.tags) for sentence in held_out]
lazy = [["O"] * len(tags) for tags in true]
count = sum(len(tags) for tags in true)
right = sum(tag == "O" for tags in true for tag in tags)
metric = EntityMetric()
for sentence, tags in zip(held_out, lazy, strict=True):
    metric.add(sentence, tags, [1.0] * len(tags))
assert metric.scores()["accuracy"] == right / count
assert metric.scores()["f1"] == f1_score(true, lazy, zero_division=0) == 0
claim(right / count, "0.82", within=0.005)

# %% [markdown]
# 0.82 of the words are right, and not one name was found. So taggers are judged by whole names. A
# predicted name is right if its kind, its first and its last word are right. **Precision** is the
# share of the predicted names that are right, **recall** is the share of the true names that were
# found, and **entity F1** is their harmonic mean:
#
# $$P = \frac{\text{right}}{\text{predicted}}, \qquad R = \frac{\text{right}}{\text{true}}, \qquad
# F_1 = \frac{2 P R}{P + R} = \frac{2 \cdot \text{right}}{\text{predicted} + \text{true}}$$

# %% by-hand
one_true = sentence_of("Ada Lovelace met Babbage in London", "B-PER I-PER O B-PER O B-LOC")
predicted = ["B-PER", "O", "O", "B-PER", "O", "B-LOC"]
metric = EntityMetric()
metric.add(one_true, predicted, [1.0] * 6)
names, found = set(spans(one_true.tags)), set(spans(predicted))
f1 = 2 * len(names & found) / (len(names) + len(found))
assert f1 == metric.scores()["f1"] == f1_score([list(one_true.tags)], [predicted])
claim(metric.scores()["accuracy"], "0.83", within=0.005)
claim(f1, "0.67", within=0.005)

# %% [markdown]
# Again 0.83 of the words are right, five of six. Of three names, `Ada` alone is not `Ada Lovelace`:
# the F1 is 0.67. Nearly the accuracy of the lazy tagger, and something quite different.
#
# ## A real tagger, with and without the CRF
#
# We [fine-tune](08_classifier.py) a pretrained BERT of two layers on 400 of the 14,041 sentences,
# four times through. It takes seconds. First each word is tagged by itself, and the best legal
# sequence is taken; then a CRF learns together with the encoder.

# %% train
from plainformer.finetune import FinetuneConfig, TaggingOptions, finetune
from plainformer.training import LoopConfig


def train(crf: bool) -> EntityMetric:
    """Fine-tune on the 400 sentences; return the scores on the held-out ones."""
    config = FinetuneConfig(
        model=model_folder,
        train=str(folder / "train.jsonl"),
        valid=str(folder / "valid.jsonl"),
        out=folder / ("crf" if crf else "each"),
        task=TaggingOptions(crf=crf),
        epochs=4,
        batch_size=16,
        select=False,  # keep the last weights: the held-out sentences choose nothing
        training=LoopConfig(device="cpu", learning_rate=3e-3, eval_every=0, checkpoint_every=0),
    )
    return finetune(config, quiet=True).metric


without, with_crf = train(crf=False), train(crf=True)

# %% results
rows = {"all O": {"accuracy": right / count, "f1": 0.0}}
rows |= {"each word": without.scores(), "CRF": with_crf.scores()}
for name, scores in rows.items():
    print(f"{name:10} accuracy {scores['accuracy']:.3f}  F1 {scores['f1']:.3f}")
claim(rows["each word"]["accuracy"], "0.89", within=0.025)
claim(rows["CRF"]["accuracy"], "0.92", within=0.02)
claim(rows["each word"]["f1"], "0.42", within=0.15)
claim(rows["CRF"]["f1"], "0.66", within=0.06)
assert rows["CRF"]["f1"] > rows["each word"]["f1"] + 0.03

# %% bars
figure, axes = panel(5, 2.8)
styles = {"accuracy": (-0.2, PALE_BLUE, "//"), "f1": (0.2, BLUE, "")}
for score_name, (shift, color, hatch) in styles.items():
    heights = [scores[score_name] for scores in rows.values()]
    places = [i + shift for i in range(3)]
    label = "accuracy of words" if score_name == "accuracy" else "entity F1"
    bars = axes.bar(places, heights, 0.36, color=color, hatch=hatch, label=label)
    axes.bar_label(bars, [f"{height:.2f}" for height in heights])
axes.set_xticks(range(3), rows)
axes.set_ylim(0, 1.1)
figure.legend(loc="outside upper center", ncols=2, frameon=False)
show(figure, "Three accuracies that are close together, and three values of F1 that are far apart.")

# %% [markdown]
# In accuracy the three are close: 0.82, 0.89 and 0.92. In entity F1 they are far apart: 0, 0.42 and
# 0.66. This is one run of each, and another seed moves the F1 by several points, most of all
# without the CRF; but the CRF came out ahead with every seed we tried. Do not expect as much for a
# large model: its layers see the neighbours of a word well, and leave less to the transitions.
#
# What did the CRF learn? White cells are the rules, which no training can change.

# %% transitions
from plainformer.finetune import Predictor

predictor = Predictor.load(folder / "crf", device="cpu")
names = predictor.task.labels
learned = predictor.model.crf.chain.transitions.detach()
figure, axes = panel(5.4, 4.4)
image = axes.imshow(learned.where(learned > -1e8, float("nan")), cmap="cividis")
axes.set_xticks(range(len(names)), names, rotation=60)
axes.set_yticks(range(len(names)), names)
axes.grid(False)
axes.set(xlabel="tag", ylabel="tag before it")
figure.colorbar(image, label="learned score")
show(figure, "A name goes on or ends: high scores. A name follows a name directly: low scores.")
assert learned[names.index("B-PER"), names.index("I-PER")] > 0
assert learned[names.index("B-PER"), names.index("B-PER")] < -1

# %% [markdown]
# A name may go on or end; that a name follows another without a word between them is almost out of
# the question. The tagger is ready for use. It answers with the kind, the text, its **character
# offsets** in the sentence, and the probability of exactly this name.

# %% predict
text = "Ada Lovelace met Charles Babbage in London."
for entity in predictor([text, "Paris Hilton left New York."]):
    for name in entity.entities:
        begin, end = name.characters
        print(f"{name.type}  {name.text:16} characters {begin}–{end}  {name.score:.2f}")
first = predictor([text])[0].entities[0]
assert text[slice(*first.characters)] == first.text

# %% [markdown]
# `Paris Hilton` is hard for it. Four hundred sentences do not make an expert.
#
# ## Chinese names
#
# Chinese is written without spaces, so there are no words to begin with. The way out is simple:
# each character is a token and has a tag. Digits and letters still stick together.

# %% chinese-tokens
from plainformer.tokenizer import train_tokenizer

news = (fetch("msra-ner") / "train.txt").read_text(encoding="utf-8").splitlines()[:5000]
chinese = train_tokenizer(news, vocab_size=3000)
text = "他1998年到北京大学。"
tokens = chinese.tokens(text)
print(
    [(chinese.token(id), offsets) for id, offsets in zip(tokens.ids, tokens.offsets, strict=True)]
)
assert [text[begin:end] for begin, end in tokens.offsets][-7:] == list("年到北京大学。")

# %% [markdown]
# We do not train an encoder now: in the time of this chapter it would only learn what can also be
# counted. The old way is a **hidden Markov model** (HMM). It counts how often a tag follows a tag,
# and how often a tag comes with a character. The characters $c$ and the tags $y$ then have the
# probability
#
# $$p(c, y) = p(y_1) \prod_{t=1}^{n-1} p(y_{t+1} \mid y_t) \prod_{t=1}^{n} p(c_t \mid y_t)$$
#
# Its logarithm is a sum of scores of neighbouring tags and of characters under tags, exactly as in
# a CRF. So the project's `Chain` runs it; only the scores come from counting, not from training.

# %% count
from collections import Counter
from itertools import islice

examples = list(islice(read_examples(Tagging, "msra-ner", "train"), 5000))
labels = ("O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER")
follows = Counter(pair for s in examples for pair in pairwise(("start", *s.tags)))
comes_with = Counter(pair for s in examples for pair in zip(s.tags, s.words, strict=True))
characters = sorted({character for _, character in comes_with})
index = {character: number for number, character in enumerate(characters)}


def log_frequency(counts: Counter, rows: list, columns: list, more: float) -> torch.Tensor:
    """Return the log of each column's share of its row; `more` is added for pairs never seen."""
    table = torch.tensor([[counts[row, column] + more for column in columns] for row in rows])
    return (table / table.sum(1, keepdim=True)).log()


steps = log_frequency(follows, ["start", *labels], labels, more=0.1)
emission = log_frequency(comes_with, labels, [*characters, "unknown"], more=0.01)
rules = Chain.legal(labels)
hmm = Chain(rules.start + steps[0], rules.transitions + steps[1:], rules.end)

# %% hmm-formula
words, tags = examples[0].words[:8], examples[0].tags[:8]
x = emission[:, [index[word] for word in words]].T  # (words, labels)
y = [labels.index(tag) for tag in tags]
log_p = steps[0, y[0]] + sum(steps[1 + i, j] for i, j in pairwise(y))
log_p = log_p + sum(emission[tag, index[word]] for tag, word in zip(y, words, strict=True))
torch.testing.assert_close(log_p, hmm.score(x, torch.tensor(y), Sequences.of([8]))[0])
print("".join(words), tags, f"log p = {log_p:.1f}")

# %% [markdown]
# The counts can be read. These characters come most often at the beginning of each kind of name: of
# a place, an organisation, a person. The last row is a list of family names.

# %% frequent
for label in ("B-LOC", "B-ORG", "B-PER"):
    most = emission[labels.index(label), :-1].topk(12).indices.tolist()
    print(label, "".join(characters[number] for number in most))


# %% chinese-scores
def tags_of(words: tuple[str, ...]) -> list[str]:
    """Return the best tags under the HMM."""
    x = emission[:, [index.get(word, len(characters)) for word in words]].T
    return [labels[tag] for tag in hmm.best(x, Sequences.of([len(words)])).tolist()]


metric, lazy = EntityMetric(), EntityMetric()
for sentence in islice(read_examples(Tagging, "msra-ner", "test"), 500):
    metric.add(sentence, tags_of(sentence.words), [1.0] * len(sentence.words))
    lazy.add(sentence, ["O"] * len(sentence.words), [1.0] * len(sentence.words))
claim(lazy.scores()["accuracy"], "0.91", within=0.005)
claim(metric.scores()["accuracy"], "0.95", within=0.005)
claim(metric.scores()["f1"], "0.46", within=0.01)

# %% [markdown]
# An accuracy of 0.95 sounds like a solved problem. It is an F1 of 0.46: more than half of the names
# are wrong or missing; and `O` everywhere would have 0.91. A character says little by itself, and
# the HMM looks no further than one tag back. Pretrained encoders, which read the whole sentence,
# are far better. Look at what goes wrong; a character is a word here, so `begin:end` are character
# offsets.

# %% chinese-names
text = "中国银行行长李明在纽约会见了克林顿。"
for kind, begin, end in spans(tags_of(tuple(text))):
    print(kind, text[begin:end], (begin, end))

# %% [markdown]
# The people and the city are right. The bank, `中国银行`, has taken a character too many, the
# first of `行长` (president): whole names count, so it is wrong.
#
# ## Exercises
#
# **1.** Line up words and tokens. `word_ids` has the word of each token, None for a special one,
# and `numbers` the index of each word's tag. Return the target of each token.


# %% exercise-1
def targets_of(word_ids: list[int | None], numbers: list[int]) -> list[int]:
    """Return a target for each token: a number at the first token of a word, else −100."""
    raise NotImplementedError


# %% check-1
@check
def exercise_1() -> None:
    for sentence in held_out[:100]:
        item = predictor.task.encode(sentence, tokenizer)
        numbers = predictor.task.numbers(sentence)
        assert targets_of(item.encodings[0].word_ids, numbers) == item.targets[0].tolist()
    assert targets_of([None, 0, 0, 1, None], [4, 2]) == [-100, 4, -100, 2, -100]


# %% [markdown]
# <details><summary>Hint</summary>A token is the first of its word if the token before it has
# another word id.</details>


# %% solution-1
def targets_of(word_ids: list[int | None], numbers: list[int]) -> list[int]:
    """Return a target for each token: a number at the first token of a word, else −100."""
    before = [None, *word_ids]
    return [
        numbers[word] if word is not None and word != last else -100
        for last, word in zip(before, word_ids, strict=False)
    ]


# %% [markdown]
# **2.** Compute the entity F1 of many sentences. Count the names of all sentences together: F1 is
# no mean of the sentences' F1. Where nothing is true or predicted, it is 0.


# %% exercise-2
def entity_f1(true: list[list[str]], predicted: list[list[str]]) -> float:
    """Return the F1 of whole names over all sentences."""
    raise NotImplementedError


# %% check-2
@check
def exercise_2() -> None:
    said = [tags[::-1] for tags in true]
    for tags in (true, said, [["O"] * len(tags) for tags in true]):
        assert abs(entity_f1(true, tags) - f1_score(true, tags, zero_division=0)) < 1e-9
    assert entity_f1([["B-PER", "I-PER"]], [["B-PER", "O"]]) == 0


# %% [markdown]
# <details><summary>Hint</summary>`spans` gives the names of a sentence. With `set(…) & set(…)` you
# have those that are right.</details>


# %% solution-2
def entity_f1(true: list[list[str]], predicted: list[list[str]]) -> float:
    """Return the F1 of whole names over all sentences."""
    right = total = 0
    for tags, said in zip(true, predicted, strict=True):
        right += len(set(spans(tags)) & set(spans(said)))
        total += len(spans(tags)) + len(spans(said))
    return 2 * right / total if total else 0.0


# %% [markdown]
# **3.** Write the Viterbi algorithm for one sentence. Keep the best score of a path to each tag,
# and the tag that this path came from; then go back from the best last tag.


# %% exercise-3
def viterbi(x: torch.Tensor, chain: Chain) -> list[int]:
    """Return the best path: `x` has a row for each word and a column for each tag."""
    raise NotImplementedError


# %% check-3
@check
def exercise_3() -> None:
    generator = torch.Generator().manual_seed(1)
    for length in (1, 2, 30):
        x = torch.randn(length, 5, generator=generator)
        chain = Chain(*(torch.randn(size, generator=generator) for size in (5, (5, 5), 5)))
        assert viterbi(x, chain) == chain.best(x, Sequences.of([length])).tolist()


# %% [markdown]
# <details><summary>Hint</summary>`(score[:, None] + chain.transitions).max(0)` gives both: the best
# score for each tag, and where it came from.</details>


# %% solution-3
def viterbi(x: torch.Tensor, chain: Chain) -> list[int]:
    """Return the best path: `x` has a row for each word and a column for each tag."""
    score, origins = chain.start + x[0], []
    for scores in x[1:]:
        score, came_from = (score[:, None] + chain.transitions).max(0)
        score = score + scores
        origins.append(came_from.tolist())
    path = [int((score + chain.end).argmax())]
    for came_from in reversed(origins):
        path.append(came_from[path[-1]])
    return path[::-1]
