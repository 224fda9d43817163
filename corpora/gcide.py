"""Convert GCIDE, the Collaborative International Dictionary of English, to a text and a task.

`gcide`      every definition and example, one per line: text for pretraining.
`gcide-pos`  a definition → the part of speech of the defined word.

The validation and test parts of `gcide-pos` are whole entries, which `gcide` leaves out: a model
pretrained on `gcide` has seen neither the test definitions nor others of the same entries, nor the
same text under another headword. Texts with the same `corpora.split.outline` count as the same.
"""

import re
import zipfile
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from plainformer.base import Fields, parse_json
from plainformer.corpora.split import outline, split_by_hash, unit

LABELS = {
    **dict.fromkeys(("n.", "n. pl.", "prop. n."), "noun"),
    **dict.fromkeys(("v.", "v. t.", "v. i.", "v. t. & i.", "v. i. & t."), "verb"),
    **dict.fromkeys(("a.", "adj."), "adjective"),
    "adv.": "adverb",
}
PER_LABEL = {"test": 1000, "valid": 500}

SOURCE_MARK = re.compile(r"(Webster|PJC|WordNet|wn\d|Suppl\.)[^\[\]]*\]")
REMARK = re.compile(r"<--.*?-->|\{\w+\}", re.DOTALL)
DERIVED_WORD = re.compile(r"""\s+--\s+\S*[*"`]\S*\s*\(.*$""", re.DOTALL)
EMPTY_BRACKETS = re.compile(r"\s*\([#,\s]*\)")
REFERENCE = re.compile(r"(see|same as|alt\. of|cf\.)\s", re.IGNORECASE)
PART_OF_SPEECH = re.compile(
    r"(?<![\w.])(n|a|v|adv|adj|pron|prep|conj|interj|p|pl|imp|pret|vb)\.(?!\w)"
)


@dataclass
class Entry:
    """A definition or an example, with its headwords and their parts of speech."""

    text: str
    words: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)


def gcide(wheel: zipfile.ZipFile) -> tuple[dict[str, list[Any]], Counter[str]]:
    """Return the lines of each part, and the number of texts left out by reason."""
    texts, dropped = _read(wheel)
    _, held_out = _hold_out(_definitions(texts))
    rest = [entry.text for entry in texts.values() if entry.words.isdisjoint(held_out)]
    dropped["under an entry that gcide-pos holds out"] = len(texts) - len(rest)
    return split_by_hash(rest, lambda line: line, valid=0.01, test=0.01), dropped


def gcide_pos(wheel: zipfile.ZipFile) -> tuple[dict[str, list[Any]], Counter[str]]:
    """Return the rows {"text", "label"} of each part; valid and test have equal classes."""
    texts, dropped = _read(wheel)
    definitions = _definitions(texts, dropped)
    part_of, held_out = _hold_out(definitions)
    parts: dict[str, list[Any]] = {"train": [], "valid": [], "test": []}
    for folded in sorted(definitions, key=unit):
        entry = definitions[folded]
        row = {"text": entry.text, "label": next(iter(entry.labels))}
        if folded in part_of:
            parts[part_of[folded]].append(row)
        elif entry.words.isdisjoint(held_out):
            parts["train"].append(row)
        else:
            dropped["beyond the equal classes, under an entry held out"] += 1
    return parts, dropped


def clean(text: str) -> str:
    """Remove editors' remarks, sense numbers and derived words; collapse white space."""
    for pattern in (REMARK, DERIVED_WORD, EMPTY_BRACKETS):
        text = pattern.sub("", text)
    return " ".join(text.replace("�", " ").split())


def cut_short(text: str) -> bool:
    """Tell whether the package lost a part of the text, as it did at every special character.

    Such a text ends in a line break, contains a fragment of the editors' source mark ("An
    epizo1913 Webster]"), or has unbalanced brackets.
    """
    return (
        text.endswith("\n")
        or text.count("[") != text.count("]")
        or SOURCE_MARK.search(text) is not None
    )


def _read(wheel: zipfile.ZipFile) -> tuple[dict[str, Entry], Counter[str]]:
    texts: dict[str, Entry] = {}
    dropped: Counter[str] = Counter()
    for name in sorted(wheel.namelist()):
        if not re.fullmatch(r"dictionary/data/en/words_\w\.json", name):
            continue
        words = Fields(parse_json(wheel.read(name), name), name)
        for word in words.values:
            # The package gives a compound the part of speech of the entry before it:
            # "adipic acid" is marked as a verb. Only single words carry their own.
            compound = len(word.split()) != 1
            for sense in words.fields(word).each("pos"):
                label = LABELS.get(sense.text("part_of_speech"), "other")
                for definition in sense.each("definitions"):
                    defining = definition.text("text")
                    for text in (defining, *definition.texts("examples")):
                        folded = outline(clean(text))
                        if not folded or cut_short(text):
                            dropped["cut short or empty in the package"] += 1
                            continue
                        dropped["repeated"] += folded in texts
                        entry = texts.setdefault(folded, Entry(clean(text)))
                        entry.words.add(word)
                        if text is defining and not compound:
                            entry.labels.add(label)
    return texts, dropped


def _definitions(texts: dict[str, Entry], dropped: Counter[str] | None = None) -> dict[str, Entry]:
    """Select the texts that define a word of one known part of speech without naming it."""
    kept: dict[str, Entry] = {}
    dropped = Counter() if dropped is None else dropped
    for folded, entry in texts.items():
        if not entry.labels:
            dropped["an example, or the definition of a compound"] += 1
        elif len(entry.labels) > 1:
            dropped["one definition under several parts of speech"] += 1
        elif entry.labels == {"other"}:
            dropped["a part of speech other than the four"] += 1
        elif REFERENCE.match(entry.text):
            dropped["only a reference to another entry"] += 1
        elif PART_OF_SPEECH.search(entry.text):
            dropped["names a part of speech"] += 1
        else:
            kept[folded] = entry
    return kept


def _hold_out(definitions: dict[str, Entry]) -> tuple[dict[str, str], set[str]]:
    """Fill test, then valid, entry by entry in the order of the headwords' hashes.

    Returns:
        The part of each held-out definition, and the held-out headwords.
    """
    under: dict[str, list[str]] = defaultdict(list)
    for folded, entry in definitions.items():
        for word in entry.words:
            under[word].append(folded)
    order = sorted(under, key=unit)
    part_of: dict[str, str] = {}
    held_out: set[str] = set()
    for part, quota in PER_LABEL.items():
        count: Counter[str] = Counter()
        for word in order:
            for folded in under[word] if word not in held_out else ():
                (label,) = definitions[folded].labels
                if folded not in part_of and count[label] < quota:
                    count[label] += 1
                    part_of[folded] = part
            if any(part_of.get(folded) == part for folded in under[word]):
                held_out.add(word)
    return part_of, held_out
