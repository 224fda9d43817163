import pytest


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled functions of the library as the Python that they are: compiling takes longer."""
    pytest.importorskip("shap")
    from shap.explainers import _partition
    from shap.maskers import _tabular
    from shap.utils import _clustering, _masked_model

    for module in (_partition, _tabular, _clustering, _masked_model):
        for name, function in list(vars(module).items()):
            if hasattr(function, "py_func"):
                monkeypatch.setattr(module, name, function.py_func)
