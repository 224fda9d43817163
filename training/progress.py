"""Show how far a training run is: loss, rate, utilisation, time left."""

from collections.abc import Mapping

from plainformer.base.counts import clock, short
from plainformer.base.progress import ProgressBar


class TrainingProgress:
    """The progress display of a run of `steps` steps on standard error; nothing when `quiet`."""

    def __init__(self, label: str, steps: int, *, quiet: bool = False) -> None:
        self.label, self._steps = label, steps
        self._bar = ProgressBar(label, steps, quiet=quiet, transient=False)
        self._seconds_per_step: float | None = None

    def __enter__(self) -> "TrainingProgress":
        self._bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__()

    def update(
        self,
        step: int,
        *,
        means: Mapping[str, float],
        tokens_per_second: float,
        utilisation: float | None,
        seconds_per_step: float,
        learning_rate: float,
    ) -> None:
        """Show where the run is after `step` steps."""
        before = self._seconds_per_step
        self._seconds_per_step = (
            seconds_per_step if before is None else 0.9 * before + 0.1 * seconds_per_step
        )
        accuracy = next((means[name] for name in means if name.endswith("accuracy")), None)
        status = "  ".join(
            [
                f"loss {means['loss']:.3f}",
                *([] if accuracy is None else [f"acc {accuracy:.0%}"]),
                f"{short(tokens_per_second)} tok/s",
                *([] if utilisation is None else [f"{utilisation:.0%} of peak"]),
                f"lr {learning_rate:.1e}".replace("e-0", "e-"),
                f"{clock((self._steps - step) * self._seconds_per_step)} left",
            ]
        )
        self._bar.update(step, f"{step}/{self._steps}  {status}", is_last=step == self._steps)

    def say(self, line: str) -> None:
        """Print a line, above the bar where there is one."""
        self._bar.say(line)
