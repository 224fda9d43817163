"""Compare the throughput of `plainformer serve` under 64 clients with that of other servers.

    python benchmarks/serving.py [--material runs/bench/serving] [--rounds 5] [--seconds 3]
                                 [--clients 64] [--threads 2] [--contenders NAME …] [--seed 0]

On an idle machine, with `pip install '.[bench,serve,export,openvino]'`, the whole takes about 5
minutes, and 2 more the first time, in which MiniLM is fine-tuned on TREC for one epoch and exported
(`--material` keeps it; no network is needed after that). `--threads` is what each server computes
with, beside the thread that speaks HTTP: by default as many as there are cores.

Every contender is a process of its own with the same weights: ours with each runtime in fp32 and
int8 (with static ranges in torch), and those of `serving_baselines.py`, whose int8 is dynamic in
ONNX Runtime, and that of NNCF with SmoothQuant in OpenVINO. The clients are one other process, in
which 64 keep-alive connections each send a question of TREC's test set, wait for the answer, and
send the next.

1. Each server is warmed up, and then takes its turn in each round, which another one begins. Those
   whose turn it is not are stopped (SIGSTOP), so they take no time.
2. Every answer is checked: its text must be the one that was asked, and in fp32 its probabilities
   must be those of the text, within a thousandth; in int8 the share of equal labels is shown. A
   request without an answer, or with a wrong one, is counted, and the exit code is 1.
3. Medians and quartiles over the rounds of requests a second, of the 50th, 95th and 99th percentile
   of the seconds of a request, and of the processor's time for a request, of server and of clients.

`--out FILE.json` (benchmarks/results/serving-cpu.json) receives all figures, versions, machine,
command and date; FILE.md is the table, and FILE.png the plot.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import surroundings
from serving_material import prepare

from plainformer.base import atomic_path, write_json, write_text
from plainformer.finetune import Predictor

HERE = Path(__file__).parent
BASELINES = HERE / "serving_baselines.py"
PACKAGES = (
    "onnxruntime",
    "openvino",
    "nncf",
    "fastapi",
    "pydantic",
    "uvicorn",
    "uvloop",
    "httptools",
)
SERVE = ("-m", "plainformer", "serve", "{run}", "--port", "0", "--runtime")
SERVE_STATIC = ("-m", "plainformer", "serve", "{static}", "--port", "0", "--runtime")
CONTENDERS: Mapping[str, Sequence[str]] = {
    "Plainformer, torch": (*SERVE, "torch"),
    "Plainformer, torch int8": (*SERVE_STATIC, "torch"),
    "Plainformer, ONNX Runtime": (*SERVE, "onnxruntime"),
    "Plainformer, ONNX Runtime int8": (*SERVE, "onnxruntime", "--int8"),
    "Plainformer, OpenVINO": (*SERVE, "openvino"),
    "Plainformer, OpenVINO int8": (*SERVE, "openvino", "--int8"),
    "transformers, one at a time": (str(BASELINES), "transformers", "{run}"),
    "FastAPI + ONNX Runtime": (str(BASELINES), "onnxruntime", "{run}", "{theirs}/fused.onnx"),
    "FastAPI + ONNX Runtime int8": (str(BASELINES), "onnxruntime", "{run}", "{theirs}/int8.onnx"),
    "FastAPI + OpenVINO": (str(BASELINES), "openvino", "{run}", "{theirs}/plain.onnx"),
    "FastAPI + OpenVINO int8": (str(BASELINES), "openvino", "{run}", "{theirs}/smooth.xml"),
}
WITHIN = 1e-3
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Server:
    """A contender's process."""

    def __init__(self, name: str, material: Path, threads: int) -> None:
        folders = {"run": "exported", "static": "static", "theirs": "theirs"}
        named = {short: material / folder for short, folder in folders.items()}
        arguments = [part.format(**named) for part in CONTENDERS[name]]
        if "serve" not in arguments:
            arguments += ["--threads", str(threads)]
        self.name, self.is_int8 = name, "int8" in name
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        self.port = 0

    def wait(self) -> None:
        """Wait until it listens, and stop it."""
        assert self.process.stdout is not None and self.process.stderr is not None
        line = self.process.stdout.readline()
        found = re.search(r":(\d+)\s*$", line)
        if found is None:
            self.process.kill()
            lines = self.process.stderr.read().strip().splitlines() or ["it ended"]
            raise RuntimeError(lines[-1])
        self.port = int(found[1])
        self.process.send_signal(signal.SIGSTOP)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Let it run."""
        self.process.send_signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGSTOP)

    @property
    def cpu(self) -> float:
        """Return the seconds of processor time that it took so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


def ask(server: Server, material: Path, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Let the clients ask a server for some seconds; return their figures, with the answers."""
    command = [sys.executable, str(HERE / "serving_client.py"), str(server.port)]
    out = material / "answers.json"
    command += [str(material / "texts.json"), str(out), "--clients", str(options.clients)]
    command += ["--seconds", str(options.seconds), "--seed", str(seed)]
    with server.running():
        begin = server.cpu
        subprocess.run(command, check=True)
        cpu = server.cpu - begin
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    answers = found.pop("answers")
    seconds = np.array([answer[1] for answer in answers])
    low, middle, high = (1e3 * np.percentile(seconds, [50, 95, 99])).tolist()
    return {
        "requests": len(answers),
        "lost": found["lost"],
        "per_second": len(answers) / found["seconds"],
        "p50": low,
        "p95": middle,
        "p99": high,
        "server_ms": 1e3 * cpu / len(answers),
        "client_ms": 1e3 * found["cpu"] / len(answers),
        "answers": [(number, status, body) for number, _, status, body in answers],
    }


def check(
    answers: Sequence[tuple[int, int, str]],
    texts: Sequence[str],
    expected: Sequence[Mapping[str, float]],
    is_int8: bool,
) -> tuple[int, float]:
    """Return the number of wrong answers, and the share of labels that are those of fp32."""
    wrong = same = 0
    for number, status, body in answers:
        if status != 200:
            wrong += 1
            continue
        (said,) = json.loads(body)["predictions"]
        wanted = expected[number]
        same += said["label"] == max(wanted, key=lambda label: wanted[label])
        gap = max(abs(said["probabilities"][label] - wanted[label]) for label in wanted)
        wrong += said["text"] != texts[number] or not (is_int8 or gap <= WITHIN)
    return wrong, same / max(1, len(answers))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Start all servers, and let them take turns."""
    material: Path = options.material
    prepare(material)
    texts = json.loads((material / "texts.json").read_text(encoding="utf-8"))
    predictions = Predictor.load(material / "trec")(texts)
    expected = [prediction.probabilities for prediction in predictions]
    found: dict[str, dict[str, Any]] = {}
    servers: list[Server] = []
    try:
        for name in options.contenders:
            server = Server(name, material, options.threads)
            found[name] = {"rounds": []}
            try:
                server.wait()
                ask(server, material, argparse.Namespace(**{**vars(options), "seconds": 1.5}), -1)
                servers.append(server)
                print(f"  {name} is ready", flush=True)
            except Exception as error:
                server.end()
                found[name]["left_out"] = str(error)[:200]
                print(f"  {name} is left out: {error}", flush=True)
        for number in range(options.rounds):
            first = number % len(servers)
            for server in servers[first:] + servers[:first]:
                figures = ask(server, material, options, options.seed + number)
                answers = figures.pop("answers")
                wrong, same = check(answers, texts, expected, server.is_int8)
                figures |= {"wrong": wrong, "same_labels": same}
                found[server.name]["rounds"].append(figures)
            best = max(servers, key=lambda s: found[s.name]["rounds"][-1]["per_second"])
            print(f"  round {number + 1}: the fastest is {best.name}", flush=True)
    finally:
        for server in servers:
            server.end()
    return found


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median and the quartiles."""
    low, middle, high = np.percentile(values, [25, 50, 75]).tolist()
    return middle, low, high


def ranked(found: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the contenders that were measured with their medians, fastest first."""
    rows = []
    for name, notes in found.items():
        if not notes["rounds"]:
            continue
        columns = {key: [figures[key] for figures in notes["rounds"]] for key in notes["rounds"][0]}
        rows.append((name, {key: spread(values) for key, values in columns.items()}))
    return sorted(rows, key=lambda row: -row[1]["per_second"][0])


COLUMNS = (
    *("", "requests/s", "p50 ms", "p95 ms", "p99 ms"),
    *("CPU ms a request", "of the clients", "labels as in fp32", "lost", "wrong"),
)


def table(found: Mapping[str, Any]) -> str:
    """Write the figures as a Markdown table."""
    rows = [COLUMNS, ("---", *["---:"] * (len(COLUMNS) - 1))]
    for name, row in ranked(found):
        middle, low, high = row["per_second"]
        totals = [sum(each[key] for each in found[name]["rounds"]) for key in ("lost", "wrong")]
        rows.append(
            (
                name,
                f"{middle:,.0f} ({low:,.0f} – {high:,.0f})",
                *(f"{row[key][0]:,.0f}" for key in ("p50", "p95", "p99")),
                *(f"{row[key][0]:.2f}" for key in ("server_ms", "client_ms")),
                f"{100 * row['same_labels'][0]:.1f} %",
                *map(str, totals),
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = [
        "| " + " | ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    out = [f"{name} is left out: {n['left_out']}" for name, n in found.items() if "left_out" in n]
    return "\n".join([*lines, *([""] if out else []), *out])


def ratios(found: Mapping[str, Any]) -> list[str]:
    """Compare our fastest server with that of transformers, and with the fastest of the others."""
    rows = ranked(found)
    ours = next((name for name, _ in rows if name.startswith("Plainformer")), None)
    others = [name for name, _ in rows if name.startswith("FastAPI")]
    lines = []
    for other in ("transformers, one at a time", *others[:1]):
        if ours is None or not found.get(other, {}).get("rounds"):
            continue
        pairs = zip(found[ours]["rounds"], found[other]["rounds"], strict=True)
        times = [mine["per_second"] / its["per_second"] for mine, its in pairs]
        middle, low, high = spread(times)
        lines.append(f"{ours} is {middle:.2f} ({low:.2f} – {high:.2f}) times as fast as {other}")
    return lines


def conditions(run: Mapping[str, Any]) -> list[str]:
    """Describe the run: the command, the date, the machine and the versions."""
    versions = ", ".join(f"{name} {number}" for name, number in run["versions"].items() if number)
    return [
        f"`{run['command']}`, {run['date']}",
        f"{run['cpu']}, {run['threads']} threads of {run['cores']}, {run['clients']} clients, "
        f"medians (quartiles) of {run['rounds']} interleaved rounds of {run['seconds']:g} s, the "
        f"test questions of TREC on MiniLM; load before: {run['load_before']:.1f}; "
        f"Python {run['python']}, {versions}",
    ]


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Plot the requests a second, a bar for each server, with quartiles."""
    from matplotlib.figure import Figure

    rows = ranked(found)
    figure = Figure(figsize=(7.2, 0.32 * len(rows) + 0.9), layout="constrained")
    axes = figure.subplots()
    for place, (name, row) in enumerate(rows):
        is_ours = name.startswith("Plainformer")
        middle, low, high = row["per_second"]
        axes.barh(
            place,
            middle,
            xerr=[[middle - low], [high - middle]],
            color="#1b9e77" if is_ours else "#cbd5e0",
            edgecolor="#2d3748",
            hatch="" if is_ours else "//",
            error_kw={"elinewidth": 0.8},
        )
        axes.annotate(
            f"{middle:,.0f}   p99 {row['p99'][0]:,.0f} ms",
            (high, place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )
    axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=7)
    axes.invert_yaxis()
    axes.margins(x=0.25)
    axes.set_xlim(left=0)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_xlabel("short texts a second, 64 clients", fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def installed(packages: Sequence[str]) -> dict[str, str | None]:
    """Return the versions of packages."""
    versions: dict[str, str | None] = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def main() -> None:
    """Measure, and write figures, table and plot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--material", type=Path, default=Path("runs/bench/serving"))
    names = list(CONTENDERS)
    parser.add_argument("--contenders", nargs="*", choices=names, default=names, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each server")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "serving-cpu.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    run = surroundings(torch.device("cpu"))
    run["versions"] |= installed(PACKAGES)
    run |= {name: getattr(options, name) for name in ("rounds", "seconds", "clients", "seed")}
    print("\n".join(conditions(run)), flush=True)
    found = measure(options)
    text = "\n\n".join([*conditions(run), table(found), *ratios(found)])
    print(f"\n{text}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, {"run": run, "servers": found})
    write_text(options.out.with_suffix(".md"), text + "\n")
    draw(found, options.out.with_suffix(".png"))
    rounds = [figures for notes in found.values() for figures in notes["rounds"]]
    if any(figures["lost"] or figures["wrong"] for figures in rounds):
        sys.exit(1)


if __name__ == "__main__":
    main()
