# %% [markdown]
# # Learning without labels
#
# Labels are written by people, a row at a time. Text is there already, and a text can set its own
# questions: hide some of it, and let the model say what was there. This is **self-supervised
# learning**, and doing it before the task that you care about is **pretraining**.
#
# You will see what is hidden, why the loss first falls to a number that you can compute by hand and
# then slows down, what a mask predicts meanwhile, and four ways to ask such questions.

# %% text
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from guide import BLUE, GREY, ORANGE, check, claim, panel, panels, show, show_frames

from plainformer.corpora import fetch
from plainformer.tokenizer import train_tokenizer

folder = Path("runs/walkthrough/definitions")
shutil.rmtree(folder, ignore_errors=True)  # begin afresh
folder.mkdir(parents=True)

definitions = (fetch("gcide") / "train.txt").read_text(encoding="utf-8").splitlines()[:20_000]
(folder / "definitions.txt").write_text("\n".join(definitions), encoding="utf-8")
tokenizer = train_tokenizer(definitions, kind="wordpiece", vocab_size=2048)
tokenizer.save(folder / "tokenizer")
print(*definitions[:3], sep="\n")

# %% [markdown]
# The text is a dictionary, GCIDE: a definition a line. Reading and tokenizing it once, and keeping
# the ids in files (*shards*), spares us the work at every step. A few lines are **held out**: the
# model never learns from them, so they show what it can do with text that it has not seen.

# %% shards
from plainformer.pretrain import Chunks, Corpus, prepare_corpus, read_shards

corpus = Corpus.of([str(folder / "definitions.txt")], valid_share=0.02)
prepare_corpus(corpus, tokenizer, folder / "shards", workers=1, quiet=True)
train_text, held_out_text = (
    Chunks(read_shards(folder / "shards", tokenizer, split), tokenizer, max_length=64)
    for split in ("train", "valid")
)
rng = np.random.default_rng(0)
text = train_text.text(train_text[0], rng)  # the first chunk of definitions, packed
print(f"{len(text.ids):,} tokens in {len(text.lengths):,} sequences, shorter ones first")

# %% [markdown]
# ## What is hidden
#
# BERT *chooses* 15 % of the tokens; the model has to predict these. Of the chosen tokens 80 % are
# replaced by the special token `[MASK]`, 10 % by a random token, and 10 % stay as they are.

# %% masking
from plainformer.pretrain import Masking

masking = Masking.of(tokenizer, ratio=0.15)
batch = masking(text, rng)
shown, chosen = batch.input_ids.numpy(), batch.target_positions.numpy()
is_mask = shown[chosen] == tokenizer.mask_id
is_kept = shown[chosen] == batch.labels.numpy()
is_random = ~is_mask & ~is_kept

claim(100 * len(chosen) / (~text.special).sum(), "15 %", within=1)
claim(100 * is_mask.mean(), "80 %", within=3)
claim(100 * is_random.mean(), "10 %", within=2)
claim(100 * is_kept.mean(), "10 %", within=2)
assert not text.special[chosen].any()  # [CLS] and [SEP] are never chosen
assert (batch.labels.numpy() == text.ids[chosen]).all()  # the answers are the text itself

# %% [markdown]
# Why not always `[MASK]`? In use, no text has one. A model that is only ever asked about `[MASK]`
# may neglect the vectors of the other tokens. Here any token that it sees may be wrong, or may be
# asked for, so it has to work on them all.
#
# Half a word often gives the other half away: after `photo` it is easy to guess `##graph`. With
# **whole-word masking** the pieces of a word are chosen together.


# %% what-the-model-sees
def draw_tokens(axes, y: float, ids, original, chosen) -> None:
    """Draw a row of tokens, those that were chosen in a frame."""
    x = 0.0
    for position, (id, was) in enumerate(zip(ids, original, strict=True)):
        token = tokenizer.token(int(id))
        colour = BLUE if id == tokenizer.mask_id else GREY if id == was else ORANGE
        frame = {"edgecolor": colour, "facecolor": "white", "linewidth": 2, "pad": 3}
        box = frame if position in chosen else None
        axes.text(x, y, token, family="monospace", fontsize=11, bbox=box)
        x += len(token) + 2


by_words = Masking.of(tokenizer, ratio=0.15, unit="words")(text, rng)
begin, length = sum(text.lengths[:213]), text.lengths[213]
figure, axes = panel(9, 2)
axes.axis("off")
axes.set(xlim=(0, 80), ylim=(-0.5, 2.5))
for y, seen in ((2, None), (1, batch), (0, by_words)):
    ids = text.ids if seen is None else seen.input_ids.numpy()
    positions = [] if seen is None else seen.target_positions.numpy() - begin
    original = text.ids[begin : begin + length]
    draw_tokens(axes, y, ids[begin : begin + length], original, positions)
show(figure, "A definition, the same with single tokens masked, and with a whole word masked.")

# %% [markdown]
# The first row is the text. In the second, single tokens are chosen, in the third whole words; a
# blue frame is a mask, an orange one a random token, a grey one a chosen token that stays.

# %% whole-words
chosen_words = np.unique(text.words[by_words.target_positions.numpy()])
pieces_of_them = (np.isin(text.words, chosen_words) & ~text.special).sum()
assert len(by_words.target_positions) == pieces_of_them  # of each chosen word every piece
print(f"{len(chosen_words)} words were chosen, {pieces_of_them} pieces")

# %% [markdown]
# ## The loss, and where it starts
#
# At each chosen position the model gives every token of the vocabulary a probability. The loss is
# the mean of
#
# $$-\log p(\text{original token} \mid \text{the text as the model sees it}),$$
#
# the **cross-entropy**. No other position counts.

# %% loss-by-hand
from plainformer.encoder import EncoderConfig, MaskedLM
from plainformer.pretrain import masked_lm

torch.manual_seed(0)
shape = EncoderConfig.preset(
    "modern-tiny",
    num_hidden_layers=2,
    hidden_size=64,
    num_attention_heads=2,
    intermediate_size=128,
    vocab_size=tokenizer.vocab_size,
    pad_token_id=tokenizer.pad_id,
)
model = MaskedLM(shape)
with torch.no_grad():
    logits = model(
        batch.input_ids, sequences=batch.sequences, target_positions=batch.target_positions
    )  # (targets, vocabulary)
    log_p = logits.log_softmax(-1)[torch.arange(len(logits)), batch.labels]
    loss = masked_lm(model, batch)  # the project's own: a sum, and the number of its terms
torch.testing.assert_close(loss.total, -log_p.sum())

start = float(loss.total) / loss.items
claim(np.log(tokenizer.vocab_size), "7.62", within=0.005)
claim(start, "7.7", within=0.15)

# %% [markdown]
# An untrained model knows nothing, so it gives each of the $V = 2048$ tokens about the same
# probability, and its loss is about $\ln V$ = 7.62 nats. (A *nat* is the unit that belongs to the
# natural logarithm; $\log$ is the natural one in the formulas of all chapters. The measured loss is
# 7.7: random weights do not give exactly equal probabilities.)
#
# ## The plateau
#
# The cheapest thing to learn is which tokens are frequent. A model that ignores the context can do
# no better than to answer with the frequencies $p$ of the tokens. Its loss is then their
# **entropy**
#
# $$H(p) = -\sum_t p_t \ln p_t,$$
#
# and every other constant answer $q$ costs more, since the last sum is never negative:
#
# $$-\sum_t p_t \ln q_t = H(p) + \sum_t p_t \ln \frac{p_t}{q_t} \ge H(p).$$

# %% entropy
from plainformer.pretrain import unigram_entropy

counts = np.bincount(np.concatenate([shard.ids for shard in train_text.shards]))
p = counts[counts > 0] / counts.sum()
entropy = -(p * np.log(p)).sum()
assert np.isclose(entropy, unigram_entropy(train_text.shards))

uniform = np.full_like(p, 1 / len(p))
for share in (0.9, 0.5, 0.0):  # of the frequencies; the rest is uniform
    q = share * p + (1 - share) * uniform
    assert np.isclose(-(p * np.log(q)).sum(), entropy + (p * np.log(p / q)).sum())
    print(f"{share:.0%} frequencies: loss {-(p * np.log(q)).sum():.2f}")
claim(entropy, "6.17", within=0.05)

# %% [markdown]
# So the loss should fall from 7.62 to 6.17 before the model has made any use of context. Let us
# see. `train` is the training loop of the project. It needs a model, an objective (a function of
# model and batch that returns the loss), and batches. Now 40 % of the tokens are chosen, the
# default of the project: with more questions a text, a small model learns faster. Every 20 steps
# the loop calls `evaluate`, and there we also ask the model about three sentences. (The settings
# choose an [optimizer](04_norms.py), Muon, and how its steps grow and shrink; [another
# chapter](08_classifier.py) shows such schedules.)

# %% train
from plainformer.pretrain import MaskedBatches, fill_mask, fixed_batches
from plainformer.training import TrainingConfig, evaluate, train

SENTENCES = (
    "The quality or state [MASK] being dry.",
    "Pertaining [MASK] the blood.",
    "The [MASK] of making.",
)
STEPS, EVERY = 260, 20
held_out = list(fixed_batches(held_out_text, Masking.of(tokenizer), 2048, limit=4096))
guesses = []


def watch(model: MaskedLM) -> dict[str, float]:
    """Keep what the model predicts for the three masks; return the held-out loss."""
    guesses.append([fill_mask(model, tokenizer, sentence)[0] for sentence in SENTENCES])
    return evaluate(model, masked_lm, held_out)


settings = TrainingConfig(
    device="cpu",
    steps=STEPS,
    eval_every=EVERY,
    checkpoint_every=0,  # none before the end
    optimizer="muon",
    learning_rate=6e-3,
    matrix_learning_rate=0.03,
    weight_decay=0.1,
    schedule="wsd",
    decay=0.4,
)
batches = MaskedBatches(train_text, Masking.of(tokenizer, ratio=0.4), batch_tokens=1024)
begin = watch(model)
train(
    model,
    masked_lm,
    batches,
    settings,
    folder / "mlm",
    evaluate=watch,
    before=begin,
    quiet=True,
)
print(f"{len(guesses)} evaluations")

# %% [markdown]
# The loop has written a log, a line for each step and each evaluation.

# %% curve
log = [json.loads(line) for line in (folder / "mlm" / "log.jsonl").open(encoding="utf-8")]
losses = [line["loss"] for line in log if "loss" in line]
evaluated = [line["evaluation"]["loss"] for line in log if "evaluation" in line]

figure, axes = panel(6.5, 3.8)
axes.plot(range(STEPS), losses, color=GREY, linewidth=1, label="training")
axes.plot(range(0, STEPS + 1, EVERY), evaluated, "o-", color=BLUE, label="held out")
for level, name in ((np.log(tokenizer.vocab_size), "ln V"), (entropy, "entropy of single tokens")):
    axes.axhline(level, color=ORANGE, linestyle="--", linewidth=1)
    axes.annotate(name, (STEPS, level), ha="right", va="bottom")
axes.set_xlabel("step")
axes.set_ylabel("loss, nats a chosen token")
axes.legend(loc="lower left")
show(figure, "The loss falls from ln V to the entropy in 40 steps, bends there, then falls slowly.")

claim(np.mean(losses[30:60]), "6.1", within=0.15)
claim(evaluated[-1], "5.2", within=0.25)

# %% [markdown]
# The curve bends at the dashed line. Between steps 30 and 60 the training loss is 6.1: the
# frequencies are learned, and hardly anything else yet. This is the **plateau** of pretraining.
# Below it, each gain has to come from context, and is slower: 5.2 on held-out text at the end.
#
# Here the plateau is over in seconds; BERT's original settings may stay on it for thousands of
# steps. A run whose loss equals the entropy has not failed, but it has made no use of context so
# far: the project warns of it, as you will see below.
#
# ## What a mask predicts as training goes on
#
# Move the slider from step 0 to the end.


# %% predictions
def draw_guesses(three: list):
    """Draw the five most probable tokens for the mask of each sentence."""
    figure, every = panels(len(SENTENCES), 3.4, 2.6)
    for axes, sentence, five in zip(every, SENTENCES, three, strict=True):
        places = range(len(five))
        axes.barh(places, [guess.probability for guess in five], color=BLUE)
        axes.set_yticks(places, [guess.token for guess in five], fontsize=11, family="monospace")
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_title(sentence, fontsize=10)
        axes.set_xlabel("probability")
    return figure


show_frames(
    [draw_guesses(three) for three in guesses],
    [f"step {step}" for step in range(0, STEPS + 1, EVERY)],
    "Five most probable tokens for three masks, by step: first all alike, in the end each its own.",
)

# %% [markdown]
# - **Step 0**: five tokens by chance, each about as probable as any other.
# - **Step 40**, on the plateau: the same frequent tokens for all three masks. The model does not
#   look at the sentence.
# - **The end**: `of` in *state … being* and `to` in *Pertaining … the*, because words of grammar
#   are frequent and their neighbours give them away. For *The … of making* it names nouns that a
#   dictionary likes: it knows what *kind* of word stands there, though not yet which one.
#
# [The live page](site/live/page.md) has a model that has learned for some minutes: hide words of
# your own sentences there.

# %% three-stages
at_start, at_plateau, at_end = guesses[0], guesses[40 // EVERY], guesses[-1]
assert max(guess.probability for five in at_start for guess in five) < 0.01
same = set.intersection(*({guess.token for guess in five} for five in at_plateau))
print("on the plateau all three have", same)
assert len(same) >= 3
first, second, third = at_end
assert first[0].token == "of" and first[0].probability > 0.3
assert second[0].token == "to" and second[0].probability > 0.3
assert third[0].token in ("state", "act", "quality", "art", "process")

# %% [markdown]
# ## Four questions to one text
#
# Masking is one way to set questions. The project knows others, and each is a function that takes a
# text and returns what the model sees, where it is asked, and the answers:
#
# - `mlm`, **masked language modelling**: tokens are hidden; they are predicted from both sides.
# - `denoise`, **denoising**: tokens are hidden and others shuffled; the originals are predicted.
# - `clm`, **causal language modelling**: nothing is hidden, but each position sees only itself and
#   what stands before it; the next token is predicted.
# - `rtd`, **replaced-token detection**: a small second model, the *generator*, fills the masks with
#   its guesses; the model says of every token whether it was replaced.

# %% signals
from plainformer.pretrain import OBJECTIVES

masking = Masking.of(tokenizer, ratio=0.4)
sequences, signals = len(text.lengths), {}
for name in ("mlm", "denoise", "clm", "rtd"):
    asked = OBJECTIVES[name].corrupt(masking)(text, np.random.default_rng(1), 0)
    changed = int((asked.input_ids.numpy() != text.ids).sum())
    positions = len(text.ids) if name == "rtd" else len(asked.target_positions)
    signals[name] = positions / sequences
    print(f"{name:8} {changed / sequences:5.1f} changed, {signals[name]:5.1f} questions a text")

claim(100 * signals["mlm"] * sequences / (~text.special).sum(), "40 %", within=1.5)
claim(len(text.ids) / sequences, "24.9", within=0.2)
claim(signals["mlm"], "9.2", within=0.3)
claim(signals["denoise"], "9.4", within=0.3)
claim(signals["clm"], "23.9", within=0.2)
claim(signals["rtd"], "24.9", within=0.2)

# %% [markdown]
# A definition has 24.9 tokens on average, with `[CLS]` and `[SEP]`. Masking asks 9.2 questions
# about it, denoising 9.4, causal modelling 23.9 (all but the last token have a next one), and
# replaced-token detection 24.9: it learns from every position, and its authors see in this the main
# reason why it needs less computation.
#
# Forty steps of each, with `pretrain`, the function behind the command `plainformer pretrain`. It
# takes the name of a shape, so we give ours names; ELECTRA's shape has the second model.

# %% four-runs
from plainformer.encoder import PRESETS
from plainformer.pretrain import PretrainConfig, pretrain

PRESETS["modern-mine"] = shape
PRESETS["electra-mine"] = EncoderConfig.preset(
    "electra-tiny",
    num_hidden_layers=2,
    hidden_size=64,
    num_attention_heads=2,
    intermediate_size=128,
    embedding_size=0,  # as wide as the blocks
)
final = {}
for name in signals:
    config = PretrainConfig(
        corpus=(str(folder / "shards"),),
        tokenizer=folder / "tokenizer",
        out=folder / f"objective-{name}",
        objective=(name,),
        preset="electra-mine" if name == "rtd" else "modern-mine",
        max_length=64,
        batch_tokens=512,
        valid_tokens=2048,
        training=replace(settings, steps=40, schedule="constant"),
    )
    final[name] = pretrain(config, quiet=True).final
    print(name, {metric: round(value, 3) for metric, value in final[name].items()})

# %% four-curves
assert min(final["mlm"]["loss"], final["denoise"]["loss"]) > 0.95 * entropy
assert final["clm"]["loss"] < entropy - 0.2
figure, every = panels(len(signals), 3, 2.4, columns=2)
for axes, name in zip(every, signals, strict=True):
    path = folder / f"objective-{name}" / "log.jsonl"
    log = [json.loads(line) for line in path.open(encoding="utf-8")]
    axes.plot([line["loss"] for line in log if "loss" in line], color=BLUE)
    axes.set_title(name)
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
show(figure, "Loss of four objectives over forty steps, each with an axis of its own; all fall.")

# %% [markdown]
# For `mlm` and `denoise` the project has printed its warning of the plateau: forty steps were too
# few. `clm`, with more than twice as many questions to learn from, is past it. All four curves
# fall, and it would still be wrong to say which is ahead. **Losses of different objectives cannot
# be compared**, because they answer different questions:
#
# - **The context differs.** Causal modelling sees the left side only, but every token of it. A mask
#   has both sides, with holes.
# - **The answers differ.** One of 2048 tokens, or one of two. A detector that knows nothing has a
#   loss of $\ln 2$; 50 times this is added to the generator's loss, so `rtd` begins at 42.
# - **The mix of positions differs.** Even with one model and one objective: a chosen token that was
#   *kept* is in the input, so the model gives it a higher probability.

# %% one-model-three-losses
found = {"mask": [], "random": [], "kept": []}
with torch.no_grad():
    for batch in held_out:
        where, labels = batch.target_positions, batch.labels
        logits = model(batch.input_ids, sequences=batch.sequences, target_positions=where)
        losses = -logits.log_softmax(-1).gather(1, labels[:, None]).squeeze(1)  # (targets,)
        shown = batch.input_ids[where]
        is_mask, is_kept = shown == tokenizer.mask_id, shown == labels
        found["mask"] += losses[is_mask].tolist()
        found["kept"] += losses[is_kept].tolist()
        found["random"] += losses[~is_mask & ~is_kept].tolist()
mean = {fate: np.mean(losses) for fate, losses in found.items()}
print({fate: round(loss, 1) for fate, loss in mean.items()})
claim(mean["mask"], "5.4", within=0.3)
assert mean["kept"] < 4 < 5 < mean["random"]

# %% [markdown]
# 5.4 nats for a mask, more than 5 for a random token, less than 4 for a kept one: the mean is a
# matter of the mix. Accuracies mislead as well. The detector is right about 85 % of the tokens,
# which sounds like much. But only 15 % are replaced, and after forty steps it finds hardly any of
# these: it has learned to answer "original", always.

# %% detector
with (folder / "objective-rtd" / "log.jsonl").open(encoding="utf-8") as file:
    first_step = json.loads(file.readline())
assert abs(first_step["loss"] - (np.log(2048) + 50 * np.log(2))) < 1
assert 41.5 < first_step["loss"] < 43
claim(100 * final["rtd"]["rtd_accuracy"], "85 %", within=3)
claim(100 * final["rtd"]["rtd_replaced"], "15 %", within=3)
assert final["rtd"]["rtd_found"] < 0.03

# %% [markdown]
# Compare a loss with another loss of the *same* objective, vocabulary, held-out text and masks. To
# compare objectives, measure what you want the model for:
# [a task with labels](08_classifier.py).
#
# ## Exercises
#
# **1.** Choose whole words: write the draw that `Masking` makes with `unit="words"`.


# %% exercise-1
def choose_words(words: np.ndarray, ratio: float, rng: np.random.Generator) -> np.ndarray:
    """Return for each token whether it is chosen; `words` has the number of its word, from 0."""
    raise NotImplementedError


# %% check-1
@check
def exercise_1() -> None:
    words = np.repeat(np.arange(4000), 1 + np.arange(4000) % 3)  # of one, two and three pieces
    chosen = choose_words(words, 0.15, np.random.default_rng(0))
    assert chosen.shape == words.shape and chosen.dtype == bool
    for size in (1, 2, 3):
        picked = chosen[(1 + words % 3) == size].reshape(-1, size)
        assert (picked.all(axis=1) == picked.any(axis=1)).all(), "a word is chosen in part"
        assert abs(picked.mean() - 0.15) < 0.03, "longer words are chosen more or less often"
    again = choose_words(words, 0.15, np.random.default_rng(1))
    assert (again != chosen).any(), "another seed has to choose other words"


# %% [markdown]
# <details><summary>Hint</summary>Draw one number for each word, not for each token, and index the
# draws with <code>words</code>.</details>


# %% solution-1
def choose_words(words: np.ndarray, ratio: float, rng: np.random.Generator) -> np.ndarray:
    """Return for each token whether it is chosen; `words` has the number of its word, from 0."""
    draws = rng.random(words[-1] + 1)
    return draws[words] < ratio


# %% [markdown]
# **2.** What would the plateau be on *another* text? Compute the loss, in nats a token, of the
# frequencies of one text on another. A token that the first text lacks must not cost infinity:
# count each token of the vocabulary once more than it occurs.


# %% exercise-2
def constant_loss(seen: np.ndarray, asked: np.ndarray, vocab_size: int) -> float:
    """Return the mean of −ln q over the ids of `asked`, where q are the frequencies of `seen`."""
    raise NotImplementedError


# %% check-2
@check
def exercise_2() -> None:
    assert np.isclose(constant_loss(np.array([], int), np.array([3, 5]), 8), np.log(8))
    seen, asked = np.array([0, 0, 1]), np.array([0, 1, 2])
    assert np.isclose(constant_loss(seen, asked, 3), -np.log([3 / 6, 2 / 6, 1 / 6]).mean())
    ids, others = (
        np.concatenate([shard.ids for shard in chunks.shards])
        for chunks in (train_text, held_out_text)
    )
    assert abs(constant_loss(ids, ids, 2048) - entropy) < 0.01
    assert constant_loss(ids, others, 2048) > constant_loss(others, others, 2048)


# %% [markdown]
# <details><summary>Hint</summary><code>np.bincount</code> has an argument
# <code>minlength</code>.</details>


# %% solution-2
def constant_loss(seen: np.ndarray, asked: np.ndarray, vocab_size: int) -> float:
    """Return the mean of −ln q over the ids of `asked`, where q are the frequencies of `seen`."""
    counts = np.bincount(seen, minlength=vocab_size) + 1
    return float(-np.log(counts / counts.sum())[asked].mean())


# %% [markdown]
# **3.** The next plateau: a model that sees only *one* token to the left can reach the entropy of a
# token given the one before it. Compute it from the counts of pairs.


# %% exercise-3
def pair_entropy(ids: np.ndarray) -> float:
    """Return −Σ p(a, b) ln p(b | a) over all pairs of neighbours, in nats."""
    raise NotImplementedError


# %% check-3
@check
def exercise_3() -> None:
    assert np.isclose(pair_entropy(np.array([0, 1] * 50)), 0)  # the next one is certain
    coin = np.random.default_rng(0).integers(0, 2, 10_000)
    assert abs(pair_entropy(coin) - np.log(2)) < 0.01  # the one before says nothing
    mixed = np.array([0, 0, 1, 0, 0, 1, 0, 0, 1, 0])  # after 0: 0 or 1; after 1: always 0
    assert np.isclose(pair_entropy(mixed), 6 / 9 * np.log(2))
    assert pair_entropy(np.concatenate([s.ids for s in train_text.shards])) < entropy - 1


# %% [markdown]
# <details><summary>Hint</summary>ln p(b | a) = ln count(a, b) − ln count(a), where a is counted as
# the first token of a pair. A pair of ids is one number: a · V + b; <code>np.unique</code> counts
# them.</details>


# %% solution-3
def pair_entropy(ids: np.ndarray) -> float:
    """Return −Σ p(a, b) ln p(b | a) over all pairs of neighbours, in nats."""
    first, second = ids[:-1].astype(np.int64), ids[1:].astype(np.int64)
    size = int(ids.max()) + 1
    pairs, counts = np.unique(first * size + second, return_counts=True)
    of_first = np.bincount(first, minlength=size)[pairs // size]
    return float(-(counts / counts.sum() * np.log(counts / of_first)).sum())
