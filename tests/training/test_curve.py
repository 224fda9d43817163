"""The picture of a run: what is a curve is drawn, what is a single number is written."""

import json
from pathlib import Path

from plainformer.training.curve import curve_figure


def log_of(folder: Path, *rows: dict) -> Path:
    path = folder / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def evaluation(step: int, **metrics: float) -> dict:
    return {"step": step, "evaluation": metrics}


def test_a_metric_of_one_point_is_written_and_has_no_panel(tmp_path: Path) -> None:
    log = log_of(tmp_path, {"step": 1, "loss": 2.0}, evaluation(1, loss=1.5, accuracy=0.25))
    figure = curve_figure(log, "run", "loss, nats per token")
    (axes,) = figure.axes
    assert axes.get_ylabel() == "loss, nats per token"
    assert [line.get_label() for line in axes.lines[1:]] == [
        "training, dropout on",
        "held-out, dropout off",
    ]
    assert all(line.get_marker() == "o" for line in axes.lines[1:]), "a point can be seen"
    assert figure.get_suptitle().splitlines() == [
        "run",
        "held-out loss 1.5",
        "held-out accuracy 0.25",
    ]


def test_metrics_of_several_points_have_a_panel_each(tmp_path: Path) -> None:
    rows = [evaluation(step, loss=1.0 / step, accuracy=0.1 * step, f1=0.5) for step in (1, 2, 3)]
    figure = curve_figure(log_of(tmp_path, *rows), "run")
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy", "f1"]
    assert figure.get_suptitle() == "run"


def test_a_log_without_rows_is_an_empty_picture(tmp_path: Path) -> None:
    assert not curve_figure(log_of(tmp_path), "run").axes[0].has_data()
