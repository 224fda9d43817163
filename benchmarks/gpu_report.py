"""Keep the figures of `gpu.py`: gpu.json, and the tables and plots made of it.

python benchmarks/gpu_report.py FOLDER          gpu.md, gpu.png and pretraining.png again
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from gpu import SECTIONS
from gpu_contenders import OURS
from gpu_pretraining import draw as draw_pretraining
from gpu_works import works
from report import draw, ranked, table

from plainformer.base import nan_to_null, write_json, write_text

NOTES = {
    "packed-encoders": "Its authors publish 1.9 to 2.1 times the speed of `transformers` on long "
    "texts, 2.5 to 2.6 on short ones (ModernBERT-base on an RTX 5090, batches of 8)."
}


class Report:
    """The figures so far, in a folder."""

    def __init__(self, folder: Path, run: Mapping[str, Any]) -> None:
        self.folder, self.path = folder, folder / "gpu.json"
        folder.mkdir(parents=True, exist_ok=True)
        self.data: dict[str, Any] = {"runs": [], **{name: {} for name in SECTIONS}}
        if self.path.exists():
            self.data |= json.loads(self.path.read_text(encoding="utf-8"))
        others = {other["device"] for other in self.data["runs"]} - {run["device"]}
        if others:
            raise ValueError(f"{self.path} has figures of {others.pop()}: choose another folder")
        self.data["runs"].append(dict(run))

    def has(self, key: Sequence[str]) -> bool:
        """Return whether a row is there."""
        found: Any = self.data
        for name in key:
            found = found.get(name, {})
        return bool(found)

    def add(self, key: Sequence[str], note: Mapping[str, Any]) -> None:
        """Add a row, and write the figures."""
        place = self.data
        for name in key[:-1]:
            place = place.setdefault(name, {})
        place[key[-1]] = dict(note)
        write_json(self.path, nan_to_null(self.data))
        write_text(self.folder / "gpu.md", "\n\n".join(pages(self.data)) + "\n")

    def draw(self) -> None:
        """Draw the plots of what there is."""
        speed = {name: work for name, work in measured(self.data).items() if len(work["ratios"])}
        if speed:
            draw(speed, self.folder / "gpu.png")
        found = self.data["pretraining"].get("pretraining", {})
        if "losses" in found:
            device = self.data["runs"][-1]["device"]
            draw_pretraining(found, device, self.folder / "pretraining.png")

    @property
    def wrong(self) -> list[str]:
        """List the checks that are wrong, and the works that plainformer failed at."""
        checks = [name for name, note in self.data["checks"].items() if note.get("failed")]
        ours = [
            f"{name}: {contender}"
            for name, notes in self.data["speed"].items()
            for contender, note in notes.items()
            if contender.startswith(OURS) and "left_out" in note
        ]
        return checks + ours


def pages(data: Mapping[str, Any]) -> Iterator[str]:
    """Return the figures in Markdown."""
    run, card = data["runs"][-1], data["card"].get("card", {})
    versions = ", ".join(f"{name} {n}" for name, n in run["versions"].items() if n)
    yield "\n".join(f"`{one['command']}`, {one['date']}  " for one in data["runs"])
    yield f"{run['device']}, {run['cpu']}, {run['cores']} cores; Python {run['python']}, {versions}"
    if card:
        yield "; ".join(card_words(card))
    if data["checks"]:
        yield "### Checks"
        yield "\n".join(f"- {name}: {line(note)}" for name, note in data["checks"].items())
    for work in measured(data).values():
        yield f"### {work['title']}, {work['model']}"
        yield table(work)
        yield from busy(work)
        yield from (text for name, text in NOTES.items() if name in work["contenders"])
    found = data["pretraining"].get("pretraining")
    if found:
        yield "### What minutes of pretraining give"
        yield pretraining_page(found)


def busy(work: Mapping[str, Any]) -> Iterator[str]:
    """Return how many kernels the contenders launch in a call, and for how long they run."""
    lines = [
        f"{name}: {note['kernels']:,.0f} kernels a call, which run for "
        f"{note['busy_milliseconds']:.2f} of {note['milliseconds_per_call']['median']:.2f} ms"
        for name, note in ranked(work)
        if note.get("kernels")
    ]
    if lines:
        yield "  \n".join(lines)


def line(note: Mapping[str, Any]) -> str:
    """Return the result of a check in one line."""
    return str(note.get("line") or f"left out: {note.get('left_out')}")


def pretraining_page(found: Mapping[str, Any]) -> str:
    """Return the held-out losses over the minutes as a table."""
    if "losses" not in found:
        return line(found)
    head = (
        f"{found['model']}, {found['trained_tokens']:,} tokens in {found['steps']:,} steps, "
        f"{found['trained_tokens'] / found['training_seconds']:,.0f} tokens a second; "
        f"a corpus of {found['corpus_tokens']:,} tokens ({found['text']})"
    )
    rows = [("minutes", "held-out loss"), ("---:", "---:")]
    points = list(zip(found["minutes"], found["losses"], strict=True))
    rows += [(f"{m:.2f}", f"{loss:.3f}") for m, loss in points]
    return "\n".join([head, "", *(f"| {a} | {b} |" for a, b in rows)])


def card_words(card: Mapping[str, Any]) -> Iterator[str]:
    """Return what was measured of a device."""
    for name, value in card.items():
        if name.startswith("peak_"):
            form = name.removeprefix("peak_")
            yield f"fastest matrix product in {form}: {value / 1e12:.4g} TFLOP/s"
    if card.get("nominal"):
        yield f"nominal in bf16: {card['nominal'] / 1e12:g} TFLOP/s"
    yield f"a copy: {card['copied_bytes_per_second'] / 1e9:,.0f} GB/s, read and written"
    yield f"a launch: {card['microseconds_per_launch']:.1f} µs of the host"
    if len(waits := card.get("waits", {})) == 3:
        work, *copies = (f"{waits[name]:.2f}" for name in ("work", "ordinary", "pinned"))
        yield f"behind {work} ms of work a copy of ids keeps the host for {copies[0]} ms"
        yield f"from pinned memory for {copies[1]} ms"
    if "memory_bytes" in card:
        yield f"{card['memory_bytes'] / 2**30:.0f} GiB, CUDA {card['cuda']}"


def measured(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the works as `report.py` reads them, with rates, shares of the peaks and ratios.

    The speed-up is that of plainformer in its fastest form.
    """
    card = data["card"].get("card", {})
    is_gpu = data["runs"][-1]["device"] != "cpu"
    known = works(is_tiny=data["runs"][-1]["size"] == "tiny")
    found = {}
    for name, work in known.items():
        notes = data["speed"].get(name, {})
        if not notes:
            continue
        form = "bf16" if is_gpu else "fp32"
        peak = card.get(f"peak_{form}") or float("nan")
        nominal = card.get("nominal")
        ours = [
            float(np.median(note["seconds"]))
            for contender, note in notes.items()
            if contender.startswith(OURS) and "seconds" in note
        ]
        contenders = {
            contender: {**note, **figures(note, work, peak, nominal, min(ours, default=None))}
            for contender, note in notes.items()
        }
        found[name] = {
            **{key: value for key, value in asdict(work).items() if key != "is_tiny"},
            "tokens": sum(work.lengths),
            "flops": work.flops,
            "peak_flops": peak,
            "torch_mm_flops": card.get(f"torch_mm_{form}") or float("nan"),
            "nominal_flops": nominal,
            "mean_length": float(np.mean(work.lengths)),
            "longest_length": max(work.lengths),
            "contenders": contenders,
            "ratios": [name for name, note in contenders.items() if "ours_is_faster" in note],
        }
    return found


def figures(
    note: Mapping[str, Any], work: Any, peak: float, nominal: float | None, ours: float | None
) -> dict[str, Any]:
    """Compute the figures of a contender from its seconds."""
    if "seconds" not in note:
        return {}
    times = np.array(note["seconds"])
    median = float(np.median(times))
    return {
        "tokens_per_second": spread(sum(work.lengths) / times),
        "milliseconds_per_call": spread(1e3 * times / work.calls),
        "of_peak": work.flops / median / peak,
        **({"of_nominal": work.flops / median / nominal} if nominal else {}),
        **({"ours_is_faster": spread(times / ours)} if ours else {}),
    }


def spread(values: Any) -> dict[str, float]:
    """Return the median and the quartiles."""
    q1, median, q3 = np.percentile(values, [25, 50, 75])
    return {"median": float(median), "q1": float(q1), "q3": float(q3)}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    data = json.loads((folder / "gpu.json").read_text(encoding="utf-8"))
    report = Report(folder, data["runs"][-1])
    report.data = data
    write_text(folder / "gpu.md", "\n\n".join(pages(data)) + "\n")
    report.draw()
    sys.exit(1 if report.wrong else 0)
