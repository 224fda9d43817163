"""Report the tagging scheme of labelled sentences, and likely faults of their tags."""

from collections import Counter
from collections.abc import Iterable

from plainformer.finetune.data.remarks import listed
from plainformer.finetune.tasks.tagging.iob import OUTSIDE, are_entities, lookalike, scheme


def of_tags(sentences: Iterable[tuple[str, ...]]) -> list[str]:
    """Report the tagging scheme, and warn of entity tags in an unsupported spelling."""
    given = list(sentences)
    counts = Counter(tag for tags in given for tag in tags)
    if are_entities(counts):
        kinds = sorted({tag.partition("-")[2] or "_" for tag in counts if tag != OUTSIDE})
        return [f"tags are read as entities in {scheme(given)}: {listed(kinds)}"]
    plain = f"tags are read as plain labels, judged word by word: {listed(sorted(counts))}"
    fault = lookalike(counts)
    return [plain] if fault is None else [plain, f"warning: {fault}"]
