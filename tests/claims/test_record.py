import json
import math

import nbformat
import pytest
import torch
from nbclient import NotebookClient

from signalprop.claims import SCHEMA, ClaimFailed, Record, claim, collect, effect, identity
from signalprop.claims.record import mean_and_error, settle

CELL = """
import torch
from signalprop.claims import claim

claim("test.kernel", "the mean is 1 & not <2>", torch.linspace(0.9, 1.1, 100), 1.0,
      source="derived", equation="eq-none", rivals={"two": 2.0})
claim("test.kept", "the mean is 1", torch.linspace(0.9, 1.1, 100), 1.0,
      source="derived", equation="eq-none", rivals={"two": 2.0}, stored="map, stale")
"""


def assert_json(record):
    data = record.to_json()
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_record_of_a_prediction_is_json():
    values = torch.linspace(-1, 1, 100)
    record = claim("test.json", "statement", {"a": values, "b": values}, torch.tensor(0.0), source="s", equation="e",
                   rivals={"far": math.inf, "two": 2.0})  # fmt: skip
    assert_json(record)


def test_record_of_an_identity_is_json():
    ones = torch.ones(3, dtype=torch.float64)
    assert_json(identity("test.json", "statement", ones, 1.0, source="s", equation="e", rivals={"nothing": 0.0}))


def test_record_of_an_effect_is_json():
    runs = 1 + 0.01 * torch.linspace(-1, 1, 12)
    assert_json(effect("test.json", "statement", runs, 0 * runs, margin=0.5, pilot=(1.0, 0.01), source="s"))


def test_record_of_a_failure_is_json():
    with pytest.raises(ClaimFailed) as failure:
        identity("test.json", "statement", torch.ones(3, dtype=torch.float64), math.inf, source="s", equation="e")
    assert_json(failure.value.record)


@pytest.mark.parametrize(
    ("mean", "error", "text"),
    [
        (2.60353, 0.0331, "2.604 ± 0.033"),
        (-31.2, 1.3, "-31.2 ± 1.3"),
        (1.0, 0.0, "1 ± 0"),
        (1e5, 300.0, "100000 ± 3e+02"),
    ],
)
def test_mean_is_rounded_to_its_error(mean, error, text):
    assert mean_and_error(mean, error) == text


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_what_is_not_finite_becomes_a_string(value):
    record = Record("a", "identity", "s", "holds", "s", "e", rivals=[{"label": "r", "distance": float(value)}])
    assert record.to_json()["rivals"] == [{"label": "r", "distance": value}]


def test_record_knows_its_run(monkeypatch):
    monkeypatch.setenv("SIGNALPROP_SEED", "271828")
    monkeypatch.setenv("SIGNALPROP_PROFILE", "standard")
    data = identity("test.run", "statement", torch.tensor([1]), 1.0, source="he2015", equation="eq-one").to_json()
    assert (data["seed"], data["profile"], data["schema"]) == (271828, "standard", SCHEMA)
    assert (data["kind"], data["verdict"], data["source"], data["equation"]) == (
        "identity", "holds", "he2015", "eq-one",
    )  # fmt: skip


ONES = torch.ones(3, dtype=torch.float64)
RUNS = 1 + 0.01 * torch.linspace(-1, 1, 12)
KINDS = {
    "prediction": lambda **how: claim(
        "test.kind", "s", torch.linspace(0.9, 1.1, 100), 1.0, source="s", equation="e", **how
    ),
    "identity": lambda **how: identity("test.kind", "s", ONES, 1.0, source="s", equation="e", **how),
    "effect": lambda **how: effect("test.kind", "s", RUNS, 0 * RUNS, margin=0.5, pilot=(1.0, 0.01), source="s", **how),
}


@pytest.mark.parametrize("kind", KINDS)
def test_claim_of_any_kind_can_be_stored(kind, capsys):
    record = KINDS[kind](stored="map")
    assert (record.kind, record.stored) == (kind, "map")
    assert capsys.readouterr().out.startswith("▣ test.kind: s — stored result (map): ")


@pytest.mark.parametrize("kind", KINDS)
def test_stored_claim_of_another_profile_is_not_run(kind, capsys, monkeypatch):
    monkeypatch.setenv("SIGNALPROP_PROFILE", "quick")
    record = KINDS[kind](stored="map", profiles=("full",))
    assert (record.verdict, record.stored) == ("not run", "map")
    assert capsys.readouterr().out == "· test.kind: s — runs in profile full, not in quick\n"


def test_stored_claim_that_fails_looks_like_any_that_fails(capsys):
    record = Record("test.kind", "identity", "s", "fails", "s", "e", stored="map")
    with pytest.raises(ClaimFailed):
        settle(record, "not equal", "  why")
    assert capsys.readouterr().out == "✗ test.kind: s — stored result (map): not equal\n"


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A folder with a page of one claim, executed by a kernel of this environment."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("JUPYTER_PREFER_ENV_PATH", "1")
        NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    folder = tmp_path_factory.mktemp("executed")
    page = folder / "chapters" / "01_page.ipynb"
    page.parent.mkdir()
    nbformat.write(notebook, page)
    return folder


def test_kernel_shows_the_claim_once_as_text_and_markup(executed):
    notebook = nbformat.read(executed / "chapters" / "01_page.ipynb", as_version=4)
    data = notebook.cells[0].outputs[0].data
    assert data["text/plain"].startswith("✓ test.kernel: the mean is 1 & not <2> — measured 1.0000 ±")
    assert 'class="claim claim-holds"' in data["text/html"]
    assert "the mean is 1 &amp; not &lt;2&gt;" in data["text/html"]


def test_kernel_shows_a_stored_claim_as_such(executed):
    notebook = nbformat.read(executed / "chapters" / "01_page.ipynb", as_version=4)
    data = notebook.cells[0].outputs[1].data
    assert data["text/plain"].startswith("▣ test.kept: the mean is 1 — stored result (map, stale): measured 1.0000 ±")
    assert 'class="claim claim-stored"' in data["text/html"]
    assert [record["stored"] for record in collect(executed)] == ["", "map, stale"]


def test_record_rides_in_the_metadata_of_the_output(executed):
    record, _ = collect(executed)
    assert record["page"] == "chapters/01_page"
    assert (record["id"], record["kind"], record["verdict"]) == ("test.kernel", "prediction", "holds")
    assert record["cases"][0]["replicates"] == 100
    assert record["rivals"][0]["label"] == "two"
