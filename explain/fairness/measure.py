"""Measure the fairness of a fine-tuned model on the rows of a file."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from plainformer.base import UserError
from plainformer.base.progress import ProgressBar, counting, watched
from plainformer.corpora import Row
from plainformer.explain.fairness.answers import answer_of
from plainformer.explain.fairness.flips import SwapReport, Versions, compare_versions
from plainformer.explain.fairness.gaps import SAMPLES, Compared, compare
from plainformer.explain.fairness.swap import edits_of, side_of, texts_of, version
from plainformer.explain.fairness.swap_lists import SwapList, load_list
from plainformer.explain.groups import Groups, groups_of
from plainformer.explain.results import results_of
from plainformer.finetune.data.examples import source_rows
from plainformer.finetune.data.rows import bounded
from plainformer.finetune.prediction.inputs import Inputs, with_texts
from plainformer.finetune.prediction.predictor import Predictor, Progress, no_progress
from plainformer.finetune.tasks.tagging.task import Tagging

SMALLEST = 20


@dataclass(frozen=True)
class GroupReport:
    """The groups of a column, those that are compared, and what was found."""

    groups: Groups
    smallest: int
    compared: Compared

    @property
    def small(self) -> dict[str, int]:
        """Return the groups of fewer than `smallest` rows, with their number of rows."""
        return {g: n for g, n in self.groups.counts.items() if g not in self.compared.groups}


@dataclass(frozen=True)
class Fairness:
    """A fine-tuned model whose fairness is measured."""

    predictor: Predictor

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> "Fairness":
        """Load a fine-tuned model; raise `UserError` for a folder without one."""
        return cls(Predictor.load(folder, device))

    def of_groups(
        self,
        source: str,
        group: Sequence[str],
        smallest: int = SMALLEST,
        columns: Sequence[str] = (),
        seed: int = 0,
        quiet: bool = False,
    ) -> list[GroupReport]:
        """Compare the groups of each column of a labelled file; of several, those of all crossed.

        The file is read twice: all is checked before anything is predicted. Raises `UserError`
        for a column that does not exist or has no two groups of `smallest` rows, and for examples
        that cannot be read.
        """
        task = self.predictor.task
        kind, naming = type(task), task.naming(columns, task.columns)

        def examples() -> Iterator[tuple[Row, Any]]:
            rows = source_rows(kind, source, "test", naming)
            return ((row, kind.read(row)) for row in bounded(rows))

        results = results_of(task)
        with counting("reading", quiet=quiet) as advance:
            every = groups_of(group, (row for row, _ in watched(examples(), advance)))
        large = [groups.large(smallest) for groups in every if len(groups.columns) == 1]
        if len(every) > 1:
            with suppress(UserError):  # crossed groups may all be small
                large.append(every[-1].large(smallest))
        with counting("predicting", len(every[0].of_rows), quiet=quiet) as advance:
            read = (example for _, example in examples())
            for example, _, prediction in self.predictor.predict_examples(read, advance):
                results.add(example, prediction)
        results.finish()
        found = []
        with resampling(2 * SAMPLES * len(large), quiet) as advance:
            for groups, names in zip(every, large, strict=False):
                numbers = groups.numbers(names)
                compared = compare(results, names, numbers, smallest, seed, advance)
                found.append(GroupReport(groups, smallest, compared))
        return found

    def of_swaps(
        self,
        source: str,
        swap: Sequence[str | SwapList],
        columns: Sequence[str] = (),
        seed: int = 0,
        quiet: bool = False,
    ) -> list[SwapReport]:
        """Compare the answers to the versions of each text, for each list of words.

        Labels are not needed, and a .txt file has a text a line. Raises `UserError` for a list and
        for examples that cannot be read.
        """
        lists = [one if isinstance(one, SwapList) else load_list(one) for one in swap]
        task = self.predictor.task
        naming = type(task).naming(columns, task.columns)

        def examples() -> Iterator[Any]:
            if source.endswith(".txt") and not isinstance(task, Tagging):
                portions = Inputs((), source, tuple(columns)).portions(task)
                rows: Iterable[Row] = chain.from_iterable(portions)
            else:
                rows = source_rows(type(task), source, "test", naming)
            return (task.read(row, labelled=False) for row in bounded(with_texts(task, rows)))

        reports = []
        with counting("reading", quiet=quiet) as advance:
            rows, texts = 0, [0] * len(lists)
            for example in watched(examples(), advance):
                rows += 1
                found = [side_of(example, swaps) is not None for swaps in lists]
                texts = [n + there for n, there in zip(texts, found, strict=True)]
        for swaps, count in zip(lists, texts, strict=True):
            label, total = f"predicting {swaps.name}", count * len(swaps.sides)
            with counting(label, total, quiet=quiet) as advance:
                every = [*self.versions(examples(), swaps, advance)]
            reports.append(compare_versions(swaps.name, swaps.sides, rows, every, seed))
        return reports

    def versions(
        self, examples: Iterable[Any], swaps: SwapList, advance: Progress = no_progress
    ) -> Iterator[Versions]:
        """Yield the versions of each example that has a word of the list, and their answers."""
        task, waiting = self.predictor.task, deque[tuple[Any, int]]()

        def all_versions() -> Iterator[Any]:
            for example in examples:
                own = side_of(example, swaps)
                if own is not None:
                    waiting.append((example, own))
                    for side in range(len(swaps.sides)):
                        yield version(example, swaps, (own, side))

        predicted = self.predictor.predict_examples(all_versions(), advance)
        while some := [*islice(predicted, len(swaps.sides))]:
            example, own = waiting.popleft()
            context = texts_of(example)[-1]
            edits = [edits_of(context, swaps, (own, side)) for side in range(len(some))]
            yield Versions(
                example.source,
                tuple(one.preview for one, _, _ in some),
                tuple(
                    answer_of(task, prediction, changes, context)
                    for (_, _, prediction), changes in zip(some, edits, strict=True)
                ),
            )


@contextmanager
def resampling(total: int, quiet: bool) -> Iterator[Progress]:
    """Yield a function that adds to the number of samples done."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        bar.update(done, f"{done:,} of {total:,} samples")

    with ProgressBar("resampling", total, quiet=quiet) as bar:
        yield advance
