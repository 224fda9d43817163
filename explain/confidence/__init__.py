"""Calibrate how sure a model is: temperature, prediction sets, abstaining.

report = calibrate("runs/labels", "valid.csv", wanted=Wanted(coverage=0.9, risk=0.05))
print(report.calibration.temperature, report.coverage.measured)
"""

from plainformer.explain.confidence.abstaining import least_confidence, risk_curve
from plainformer.explain.confidence.calibrate import Wanted, calibrate
from plainformer.explain.confidence.conformal import set_threshold
from plainformer.explain.confidence.measures import Measures, binned
from plainformer.explain.confidence.report import Report
from plainformer.explain.confidence.temperature import best_temperature

__all__ = [
    "Measures",
    "Report",
    "Wanted",
    "best_temperature",
    "binned",
    "calibrate",
    "least_confidence",
    "risk_curve",
    "set_threshold",
]
