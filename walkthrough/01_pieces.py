# %% [markdown]
# # Text into pieces
#
# A model computes with numbers, so a text has to become a list of numbers first. The text is cut
# into pieces, and each piece has a number. This chapter cuts English and Chinese in five ways,
# writes the best-known one in twenty lines, and measures what the wrong choice costs.
#
# The examples are definitions from an English dictionary, and Chinese news.

# %% texts
from plainformer.corpora import fetch

english = (fetch("gcide") / "train.txt").read_text(encoding="utf-8").split("\n")[:6000]
chinese = (fetch("msra-ner") / "train.txt").read_text(encoding="utf-8").split("\n")[:6000]
new_english = (fetch("gcide") / "valid.txt").read_text(encoding="utf-8").split("\n")[:1000]
new_chinese = (fetch("msra-ner") / "valid.txt").read_text(encoding="utf-8").split("\n")[:1000]
print(english[5])
print(chinese[1])

# %% [markdown]
# The first two lists are for learning. The other two are *held out*: nothing is learned from them,
# and so they stand for all the text that is still to come.
#
# ## Characters are too small, words are too many
#
# The smallest piece is a character. All different pieces together are the **vocabulary**; each has
# a number, its **id**. English needs fewer than a hundred characters, but a sentence becomes a long
# list, and a single letter says almost nothing.

# %% characters
sentence = "The rains of the tropics."
characters = sorted(set("".join(english)))
id_of = {character: id for id, character in enumerate(characters)}
print(len(characters), "characters in the vocabulary")
print([id_of[character] for character in sentence])

# %% [markdown]
# Words say more. But the list of words does not end: the more we read, the more there are. Chinese
# characters are different: after a while new ones become rare.

# %% growth
import re

from guide import BLUE, ORANGE, panel, show


def words_of(text: str) -> list[str]:
    return re.findall("[a-z]+", text.lower())


def growth(texts: list[list[str]]) -> list[int]:
    """Count the different pieces after each text."""
    seen: set[str] = set()
    return [seen.update(text) or len(seen) for text in texts]


figure, axes = panel(5.5, 3.4)
axes.plot(growth([words_of(text) for text in english]), color=BLUE, label="English words")
axes.plot(growth(list(map(list, chinese))), "--", color=ORANGE, label="Chinese characters")
axes.plot(growth(list(map(list, english))), ":", color="black", label="English characters")
axes.set(xlabel="texts read", ylabel="different pieces")
axes.legend(frameon=False)
show(figure, "English words keep coming; Chinese characters slow down; English letters stay few.")

# %% [markdown]
# After six thousand definitions there are still words that we have not met. They get no number:
# such a word is an **unknown token**, and the model reads nothing but "here was something".

# %% unknown-words
from guide import check, claim

known = {word for text in english for word in words_of(text)}
new = [word for text in new_english for word in words_of(text)]
unknown = [word for word in new if word not in known]
claim(100 * len(unknown) / len(new), "12 %", within=0.5)
print(unknown[:8])

# %% [markdown]
# In held-out definitions 12 % of the words are unknown. And Chinese has no spaces at all: to a
# program that splits at spaces, a sentence is one word.

# %% no-spaces
print(len(chinese[1].split()), "word:", chinese[1])

# %% [markdown]
# So the pieces should be in between: a frequent word is one piece, a rare word is several pieces
# that occur elsewhere too. Such a piece is a **subword**. A piece as it stands in a text, of
# whatever size, is called a **token**, and what cuts texts into tokens is a **tokenizer**.
#
# ## Merges: byte-pair encoding
#
# The idea: begin with characters, find the pair of neighbours that occurs most often, make one
# piece of it, and repeat (**byte-pair encoding**, BPE). A `▁` marks where a word begins. Here are
# all the steps.

# %% merges
from collections import Counter
from itertools import pairwise

Pieces = tuple[str, ...]


def merge(pieces: Pieces, pair: Pieces) -> Pieces:
    """Join the two pieces of `pair` wherever they are neighbours."""
    joined: list[str] = []
    for piece in pieces:
        if joined and (joined[-1], piece) == pair:
            joined[-1] += piece
        else:
            joined.append(piece)
    return tuple(joined)


def learn_merges(counts: dict[str, int], number: int) -> list[Pieces]:
    """Learn merges from words and how often each occurs."""
    words = Counter({tuple("▁" + word): count for word, count in counts.items()})
    merges: list[Pieces] = []
    for _ in range(number):
        pairs: Counter[Pieces] = Counter()
        for pieces, count in words.items():
            for pair in pairwise(pieces):
                pairs[pair] += count
        merges.append(max(pairs, key=pairs.__getitem__))
        words = Counter({merge(pieces, merges[-1]): count for pieces, count in words.items()})
    return merges


# %% [markdown]
# We try it on seven words, some of them frequent.

# %% toy
toy = {"rain": 20, "rained": 6, "train": 9, "trained": 6, "training": 7, "painting": 4, "tea": 2}
merges = learn_merges(toy, 9)
for first, second in merges:
    print(f"{first} + {second} → {first + second}")
assert merges[:3] == [("i", "n"), ("a", "in"), ("r", "ain")]

# %% [markdown]
# To cut a word, the merges are applied in the order in which they were learned. Move the slider to
# watch the pieces grow. `raining`, the last row, was not among the seven words.


# %% apply-merges
from guide import PALE_BLUE, show_frames


def cut(word: str, merges: list[Pieces]) -> Pieces:
    """Cut a word by applying merges in their order."""
    pieces = tuple("▁" + word)
    for pair in merges:
        pieces = merge(pieces, pair)
    return pieces


def draw_pieces(rows: dict[str, Pieces], width: float = 5.0):
    """Draw each row of pieces as boxes."""
    figure, axes = panel(width, 0.45 * len(rows) + 0.2)
    for row, pieces in enumerate(rows.values()):
        start = 0
        for piece in pieces:
            axes.barh(row, len(piece) - 0.12, 0.72, left=start + 0.06, color=PALE_BLUE)
            axes.text(start + len(piece) / 2, row, piece, ha="center", va="center", fontsize=11)
            start += len(piece)
    axes.set_yticks(range(len(rows)), list(rows), fontsize=11)
    axes.set(xticks=[], xlim=(0, None), ylim=(len(rows) - 0.5, -0.5))
    axes.spines[:].set_visible(False)
    axes.grid(False)
    axes.tick_params(length=0)
    return figure


steps = range(len(merges) + 1)
show_frames(
    [draw_pieces({w: cut(w, merges[:k]) for w in (*toy, "raining")}) for k in steps],
    ["characters", *(f"merge {k}: {''.join(merges[k - 1])}" for k in steps[1:])],
    "Words as rows of pieces: single characters at first, then fewer and longer pieces.",
)

# %% [markdown]
# `raining` becomes `▁rain` and `ing`: a new word in two pieces that the seven words share.
#
# Now the project's own tokenizer, trained on real text with `kind="bpe"`. (On the command line:
# `plainformer tokenizer train --files gcide --kind bpe --out tok`.) Its vocabulary begins with five
# special tokens, which we meet below, and the 256 values of a byte. Then come the merges, in the
# order in which they were learned; then the characters. Are they the merges that our twenty lines
# learn?

# %% same-merges
from plainformer.tokenizer import train_tokenizer

bare = [" ".join(words_of(text)) for text in english[:1000]]
small = train_tokenizer(bare, kind="bpe", vocab_size=305)
pieces = [small.token(id) for id in range(5 + 256, small.vocab_size)]
learned = [piece for piece in pieces if len(piece) > 1]
merges = learn_merges(Counter(" ".join(bare).split()), len(learned))
assert ["".join(pair) for pair in merges] == learned
print(learned)

# %% [markdown]
# They are, one by one: `▁the` and `ing` are found by counting alone. And they cut new words alike.

# %% same-cuts
letters = {piece for piece in pieces if len(piece) == 1}
alike = [word for word in new if letters.issuperset(word)]
for word in alike:
    assert list(cut(word, merges)) == [small.token(id) for id in small.tokens(word).ids]
print(len(alike), "words cut alike, such as", " ".join(cut("counting", merges)))

# %% [markdown]
# What is left out of the vocabulary, a rare letter or a Chinese character, becomes the bytes by
# which UTF-8 encodes it. This is called **byte fallback**. With it no token is ever unknown.

# %% byte-fallback
print([small.token(id) for id in small.tokens("rain 雨").ids])
assert "雨".encode() == bytes([0xE9, 0x9B, 0xA8])

# %% [markdown]
# ## WordPiece: the longest piece first
#
# WordPiece, the tokenizer of BERT and the default here, also learns by merging. It cuts otherwise:
# take the longest piece of the vocabulary that begins the word, and go on with the rest. A piece
# that continues a word is written with `##`.


# %% wordpiece
wordpiece = train_tokenizer(english, vocab_size=3500)  # kind="wordpiece"
vocabulary = {wordpiece.token(id) for id in range(wordpiece.vocab_size)}


def longest_first(word: str) -> list[str]:
    """Cut a word as WordPiece does."""
    tokens, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = range(len(word), start, -1)
        end = next((end for end in ends if prefix + word[start:end] in vocabulary), None)
        if end is None:
            return ["[UNK]"]
        tokens.append(prefix + word[start:end])
        start = end
    return tokens


print(longest_first("unforgettable"))
for word in new:
    assert longest_first(word) == [wordpiece.token(id) for id in wordpiece.tokens(word).ids]

# %% [markdown]
# ## Unigram: the most probable pieces
#
# The third way gives each piece $x$ a probability $p(x)$. A way to cut a word into pieces $x_1
# \dots x_n$ has the product of their probabilities, and the logarithm of a product is a sum. Of all
# ways it takes the one with the largest:
#
# $$\max_{x_1 \dots x_n} \; \sum_{i=1}^{n} \log p(x_i)$$
#
# A word of $n$ letters can be cut in $2^{n-1}$ ways. We need not try them all: to cut the first
# seven letters, try each possible last piece after the best way to cut what comes before it, which
# is known already. This is the **Viterbi** algorithm, from left to right.

# %% viterbi
import math

unigram = train_tokenizer(english, kind="unigram", vocab_size=3500)
first_piece = 5 + 256  # after the special tokens and the bytes
log_p = {unigram.token(id): unigram.score(id) for id in range(first_piece, unigram.vocab_size)}


def most_probable(word: str) -> list[str]:
    """Cut a word into the pieces with the largest sum of log p."""
    best = [(0.0, [])]
    for end in range(1, len(word) + 1):
        ways = [
            (best[start][0] + log_p[word[start:end]], [*best[start][1], word[start:end]])
            for start in range(end)
            if word[start:end] in log_p
        ]
        best.append(max(ways, default=(-math.inf, [])))
    return best[-1][1]


print(most_probable("▁unforgettable"))

# %% [markdown]
# Again the project cuts held-out words in the same way. (Some letters are outside its vocabulary:
# words with those are left out.)

# %% same-unigram
tried = [f"▁{word}" for word in new if all(letter in log_p for letter in word)]
same = [most_probable(w) == [unigram.token(id) for id in unigram.spell(w)] for w in tried]
assert all(same)
print(len(same), "words cut alike")

# %% [markdown]
# Where do the probabilities come from? Training begins with a large vocabulary, cuts the text,
# counts the pieces, and drops those that are missed least: their removal lowers the probability of
# the text least. And again, until the vocabulary has the wanted size. Merging grows a vocabulary;
# unigram shrinks one.
#
# Here is one word cut by all of them. The three vocabularies are equally large.

# %% side-by-side
word = "unforgettable"
bpe = train_tokenizer(english, kind="bpe", vocab_size=3500)
rows = {
    "characters": tuple(word),
    "BPE": tuple(map(bpe.token, bpe.tokens(word).ids)),
    "WordPiece": tuple(longest_first(word)),
    "unigram": tuple(most_probable("▁" + word)),
}
show(
    draw_pieces(rows, 6),
    "The word unforgettable cut four ways: into thirteen characters, or into five or six pieces. "
    "BPE and WordPiece begin with unf, WordPiece ends with ta and ble; unigram has un, for, able.",
)
assert rows["WordPiece"][-2:] == ("##ta", "##ble") and "able" in rows["unigram"]

# %% [markdown]
# WordPiece never looks ahead: after `get` it takes the longest piece, `##ta`, and so misses
# `able`. Unigram weighs whole ways to cut, and finds `un`, `for` and `able`. But none of the three
# knows grammar. They count, and where a piece is also a part of the word's meaning, that is
# because such parts recur.
#
# ## Chinese
#
# Learn merges from Chinese sentences, and most of them are *words*, although nothing marks where a
# word ends. (Here a `▁` begins a run of characters, after a punctuation mark.)

# %% chinese-merges
clauses = Counter(re.findall(r"[\u4e00-\u9fff]+", "".join(chinese[:1000])))
found = learn_merges(clauses, 15)
print(" ".join("".join(pair) for pair in found))
assert {("中", "国"), ("发", "展"), ("经", "济")} <= set(found)

# %% [markdown]
# Should such words be pieces? In this project each Chinese character is a token of its own, for all
# kinds of tokenizers, as in BERT: there are few enough characters, each means something by itself,
# and a name may begin at any of them.

# %% chinese-tokens
for kind in ("wordpiece", "unigram", "bpe"):
    chinese_tokenizer = train_tokenizer(chinese, kind=kind, vocab_size=3500)
    tokens = map(chinese_tokenizer.token, chinese_tokenizer.tokens("北京大学的学生。").ids)
    assert list(tokens) == list("北京大学的学生。"), kind
# `chinese_tokenizer` is now the last one, a BPE: the next section uses it

# %% [markdown]
# ## What a bad tokenizer costs
#
# A vocabulary that was learned from other texts still cuts everything, but into more pieces. We
# count **tokens per character**. Each text is cut with two BPE vocabularies of 3,500 pieces: one
# from the dictionary and one from Chinese news. A third text, English news, is foreign to both.

# %% cost
news = (fetch("conll2003") / "valid.txt").read_text(encoding="utf-8").split("\n")[:1000]
held_out = {"definitions": new_english, "English news": news, "Chinese news": new_chinese}


def tokens_per_character(tokenizer, texts: list[str]) -> float:
    return sum(len(tokenizer.tokens(text)) for text in texts) / sum(map(len, texts))


cost = {
    name: [tokens_per_character(tokenizer, texts) for tokenizer in (bpe, chinese_tokenizer)]
    for name, texts in held_out.items()
}
figure, axes = panel(5.5, 3.2)
for k, (label, colour) in enumerate(
    {"English vocabulary": BLUE, "Chinese vocabulary": ORANGE}.items()
):
    places = [place + 0.38 * k for place in range(3)]
    bars = axes.bar(
        places, [row[k] for row in cost.values()], 0.36, color=colour, hatch="/" * k, label=label
    )
    axes.bar_label(bars, fmt="%.2f")
axes.set_xticks([place + 0.19 for place in range(3)], list(cost))
axes.set(ylabel="tokens per character")
axes.legend(frameon=False)
show(
    figure,
    "Bars of tokens per character: the English vocabulary needs about a third of a token on both "
    "English texts and nearly three on Chinese, the Chinese one about one on all three texts.",
)

# %% [markdown]
# And by the numbers:

# %% cost-figures
claim(cost["definitions"][0], "0.30", within=0.02)
claim(cost["definitions"][1] / cost["definitions"][0], "3.4", within=0.3)
claim(cost["Chinese news"][0] / cost["Chinese news"][1], "2.9", within=0.2)
claim(cost["English news"][0] / cost["definitions"][0], "1.3", within=0.1)

# %% [markdown]
# The English vocabulary needs 0.30 tokens for a character of a definition: a token is three to four
# letters. The Chinese vocabulary cuts the same text almost into letters, 3.4 times as many. On
# Chinese, the English vocabulary needs 2.9 times as many tokens as the Chinese one, since it has
# nothing but the three bytes of each character. The milder case is the common one: news instead of
# definitions, 1.3 times.
#
# WordPiece has no bytes to fall back on. There the same mistake gives no more tokens, but worse
# ones:

# %% unknown-tokens
ids = [id for text in new_chinese for id in wordpiece.tokens(text).ids]
claim(100 * ids.count(wordpiece.unk_id) / len(ids), "99 %", within=1.5)
print([wordpiece.token(id) for id in wordpiece.tokens("北京大学的学生。").ids])

# %% [markdown]
# 99 % of the tokens are unknown. Nothing fails, no warning appears, and a model could learn nothing
# from this text. **Look at your tokens** before you train.
#
# More tokens cost time. A model of BERT's kind compares each token with each other one (the
# [chapter on attention](03_attention.py) shows how), so its work grows faster than the number of
# tokens. The project counts the operations of one pass:

# %% length
from plainformer.encoder import Encoder, EncoderConfig

import torch

with torch.device("meta"):  # shapes without numbers: nothing is computed
    bert = Encoder(EncoderConfig.preset("bert-base"))
right = 400 * cost["Chinese news"][1]
wrong = 400 * cost["Chinese news"][0]
work = [length * bert.flops_per_token(round(length)) for length in (right, wrong)]
print(f"{right:.0f} or {wrong:.0f} tokens for 400 characters")
assert right < bert.config.max_position_embeddings == 512 < wrong
claim(work[1] / work[0], "3.3", within=0.25)

# %% [markdown]
# For a Chinese text of 400 characters the wrong vocabulary makes 3.3 times the work. It would not
# even fit: BERT reads at most 512 tokens.
#
# A larger vocabulary makes texts shorter. It costs too: each piece has a row of numbers in the
# model (the [next chapter](02_vectors.py) shows the table), and rare pieces are seen too seldom to
# be learned.


# %% vocabulary-size
def tokens_per_word(tokenizer, texts: list[str]) -> float:
    tokens = sum(len(tokenizer.tokens(text)) for text in texts)
    return tokens / sum(len(words_of(text)) for text in texts)


sizes = [500, 1000, 2000, 4000, 8000]
trained = [train_tokenizer(english, kind="bpe", vocab_size=size) for size in sizes]
figure, axes = panel(5.5, 3.2)
for name, colour, style in (("English news", ORANGE, "s--"), ("definitions", BLUE, "o-")):
    ratios = [tokens_per_word(tokenizer, held_out[name]) for tokenizer in trained]
    axes.plot(sizes, ratios, style, color=colour, label=name)
    assert ratios == sorted(ratios, reverse=True)
axes.set_xscale("log", base=2)
axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
axes.set(xlabel="pieces in the vocabulary", ylabel="tokens per word", ylim=(1, None))
axes.legend(frameon=False)
show(figure, "Tokens per word fall as the vocabulary grows, less with each doubling.")
claim(ratios[0] - ratios[1], "0.6", within=0.1)
claim(ratios[3] - ratios[4], "0.15", within=0.05)

# %% [markdown]
# From 500 to 1,000 pieces a word of a definition needs 0.6 tokens less, from 4,000 to 8,000 only
# 0.15. Published models have from 30,000 pieces (BERT) to 250,000 (for a hundred languages).
#
# ## What the model gets
#
# `encode` does all of it for one text. Around the text stand two **special tokens**, pieces that no
# text contains: `[CLS]` in front, whose [vector](02_vectors.py) will stand for the whole text, and
# `[SEP]` at the end.

# %% encode
text = "Naïve   travellers of the tropics"
encoding = wordpiece.encode(text)
for id, (start, end), word in zip(encoding.ids, encoding.offsets, encoding.word_ids, strict=True):
    print(f"{id:5}  {wordpiece.token(id):8} word {word}  {text[start:end]!r}")

# %% [markdown]
# Small letters, no accents, no matter how many spaces: the tokenizer has **normalised** the text.
# Yet nothing is lost. Each token has **offsets**, the place in the original text from which it
# came. They matter when a model finds a name and the name should be shown as it was written.

# %% offsets
source = [text[start:end] for start, end in encoding.offsets]
assert "".join(source) == "Naïvetravellersofthetropics"
print(wordpiece.decode(encoding.ids))

# %% [markdown]
# Some tasks read two texts: a question and a passage, two sentences to compare. A **text pair** is
# one list of tokens, with a second list, the **type ids**, that says which text a token is from.

# %% pairs
pair = wordpiece.encode("Will it rain?", "It rains.")
print([wordpiece.token(id) for id in pair.ids])
print(pair.type_ids)
assert pair.type_ids == [0] * 7 + [1] * 5

# %% [markdown]
# Look: the question mark is `[UNK]`. A dictionary asks no questions, and so `?` did not get into
# the vocabulary. A tokenizer for questions has to be trained on questions, too.
#
# There are two more special tokens. `[MASK]` hides a token that the model has to guess, which is
# how it [learns without labels](06_pretraining.py). `[PAD]` fills up short texts where several are
# handled together; the [chapter on attention](03_attention.py) gets rid of it.

# %% special
assert [wordpiece.token(id) for id in range(5)] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

# %% [markdown]
# Where there is a limit, **truncation** cuts tokens off at the end, never the special ones.

# %% truncation
short = wordpiece.encode("Will it rain in the tropics.", max_length=6)
print([wordpiece.token(id) for id in short.ids], short.dropped, "tokens dropped")
assert len(short) == 6 and short.ids[-1] == wordpiece.sep_id

# %% [markdown]
# ## Exercises
#
# **1. Back to the text.** Return word number `number` of a text, counted from 0, as it is written
# there. Use the offsets and the word ids of `tokenizer.encode(text)`.


# %% exercise-1
def word_as_written(tokenizer, text: str, number: int) -> str:
    """Return a word of the text, with its capitals and accents."""
    raise NotImplementedError


# %% check-1
@check
def exercise_1() -> None:
    travellers = "Naïve   Travellers, of the TROPICS"
    found = [word_as_written(wordpiece, travellers, number) for number in range(6)]
    assert found == ["Naïve", "Travellers", ",", "of", "the", "TROPICS"], found
    assert word_as_written(bpe, "an Unforgettable day", 1) == "Unforgettable"


# %% [markdown]
# <details><summary>Hint</summary>Collect the offsets of all tokens whose word id is `number`. The
# word begins where the first begins and ends where the last ends.</details>


# %% solution-1
def word_as_written(tokenizer, text: str, number: int) -> str:
    """Return a word of the text, with its capitals and accents."""
    encoding = tokenizer.encode(text)
    places = zip(encoding.offsets, encoding.word_ids, strict=True)
    spans = [span for span, word in places if word == number]
    return text[spans[0][0] : spans[-1][1]]


# %% [markdown]
# **2. From the right.** Cut a Chinese sentence into words of a given list, the longest first, as
# WordPiece does, but from the right end to the left. A single character is always allowed.
# Compare: from the left, 研究生命起源 (to study the origin of life) becomes 研究生 / 命 / 起源,
# "graduate student, fate, origin".


# %% exercise-2
def from_the_right(sentence: str, words: set[str]) -> list[str]:
    """Cut a sentence into words, the longest first, from the right."""
    raise NotImplementedError


# %% check-2
@check
def exercise_2() -> None:
    words = {"研究", "研究生", "生命", "起源", "学生", "大学", "大学生", "北京大学"}
    assert from_the_right("研究生命起源", words) == ["研究", "生命", "起源"]
    assert from_the_right("北京大学生", words) == ["北", "京", "大学生"]
    assert from_the_right("雨", words) == ["雨"]
    assert from_the_right("", words) == []


# %% [markdown]
# <details><summary>Hint</summary>Keep an `end`, at first the length of the sentence. Among all
# `start` from 0 upwards, the first whose `sentence[start:end]` is a word gives the longest one.
# Reverse the list when you are done.</details>


# %% solution-2
def from_the_right(sentence: str, words: set[str]) -> list[str]:
    """Cut a sentence into words, the longest first, from the right."""
    found, end = [], len(sentence)
    while end > 0:
        start = next(s for s in range(end) if sentence[s:end] in words or s == end - 1)
        found.append(sentence[start:end])
        end = start
    return found[::-1]


# %% [markdown]
# Neither direction is always right: 北京大学 is a university, and the right end missed it.
#
# **3. All ways at once.** To *train* unigram one needs the probability of a word, which is the sum
# over all ways to cut it. Return its logarithm. Trying all ways takes too long for a long word.


# %% exercise-3
def log_probability(word: str, log_p: dict[str, float]) -> float:
    """Return the logarithm of the sum of the probabilities of all ways to cut a word."""
    raise NotImplementedError


# %% check-3
@check
def exercise_3() -> None:
    half = math.log(0.5)
    assert math.isclose(log_probability("aa", {"a": half, "aa": half}), math.log(0.5 + 0.25))
    assert math.isclose(log_probability("aaa", {"a": half, "aa": half}), math.log(0.625))
    assert log_probability("ab", {"a": half}) == -math.inf
    value = log_probability("▁unforgettable", log_p)  # at least the best way alone
    assert sum(log_p[piece] for piece in most_probable("▁unforgettable")) < value < 0
    many = log_probability("a" * 500, {"a": half, "aa": half})  # 10^104 ways: in no time
    assert math.isclose(many, math.log(2 / 3))


# %% [markdown]
# <details><summary>Hint</summary>It is `most_probable` with a sum in place of the maximum:
# `total[end]` is the logarithm of the sum of `exp(total[start] + log_p[piece])` over all last
# pieces. (For very long words take the largest exponent out of the sum first, or the sum becomes
# 0.) </details>


# %% solution-3
def log_probability(word: str, log_p: dict[str, float]) -> float:
    """Return the logarithm of the sum of the probabilities of all ways to cut a word."""
    total = [0.0]
    for end in range(1, len(word) + 1):
        last = {start: word[start:end] for start in range(end)}
        ways = [total[start] + log_p[piece] for start, piece in last.items() if piece in log_p]
        largest = max(ways, default=-math.inf)
        if largest > -math.inf:
            largest += math.log(sum(math.exp(way - largest) for way in ways))
        total.append(largest)
    return total[-1]
