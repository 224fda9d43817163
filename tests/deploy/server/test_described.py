"""The OpenAPI page is true: schemathesis, which tries what it allows and forbids, finds nothing.

Two of its rules are widened. What a valid row is, and which model gives vectors, the page of all
models cannot say: such requests may be refused with 404 or 422. And 413, for more texts than the
page allows, is a refusal like another.
"""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from plainformer.deploy.server import Limits, load_models
from tests.deploy.server.conftest import WEB, served

SETTINGS = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", 404, 422]
negative_data_rejection.expected-statuses = [400, 404, 405, 413, 422]
"""


def test_the_page_states_the_limits(address):
    schemas = WEB.get(f"{address}/openapi.json").json()["components"]["schemas"]
    assert schemas["PredictBody"]["properties"]["inputs"]["maxItems"] == 8
    assert schemas["EmbeddingsBody"]["properties"]["input"]["anyOf"][1]["maxItems"] == 8


def test_the_first_model_that_can_answers(runs):
    """Without a name; and where none can, that is said."""
    with served(load_models([runs["labels"], runs["vectors"]])) as address:
        for route in ("/predict", "/embed"):
            assert WEB.post(address + route, json={"inputs": ["a"]}).status_code == 200
        said = WEB.post(f"{address}/fill", json={"text": "a [MASK]"})
        assert said.status_code == 404 and "predicts masked tokens" in said.text


@pytest.mark.slow
@pytest.mark.skipif(find_spec("schemathesis") is None, reason="schemathesis is not installed")
def test_schemathesis_finds_nothing(runs, tmp_path):
    settings = tmp_path / "schemathesis.toml"
    settings.write_text(SETTINGS)
    names = ("labels", "vectors", "words")
    models = load_models([runs[name] for name in names], Limits(max_texts=8))
    with served(models) as address:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", settings),
            *("run", f"{address}/openapi.json", "--checks", "all", "--no-color"),
            *("--generation-deterministic", "--max-examples", "15", "--continue-on-failure"),
        ]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
