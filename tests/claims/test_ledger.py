import json

import pytest

from signalprop.claims import SCHEMA, Record, collect, read_ledger, write_ledger


def record(id, statement="statement"):
    return Record(id, "identity", statement, "holds", "derived", "eq-none").to_json()


def output(record):
    return {"output_type": "display_data", "data": {}, "metadata": {"signalprop": {"claim": record}}}


def write_page(path, *cells):
    """Write a notebook that has nothing but outputs: one list of records a cell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = {"cells": [{"cell_type": "code", "outputs": [output(r) for r in records]} for records in cells]}
    path.write_text(json.dumps(notebook), encoding="utf-8")


def test_records_come_in_the_order_of_pages_and_cells(tmp_path):
    write_page(tmp_path / "chapters" / "02_b.ipynb", [record("z")])
    write_page(tmp_path / "chapters" / "01_a.ipynb", [record("y"), record("c")], [], [record("b")])
    write_page(tmp_path / "appendices" / "a.ipynb", [record("a")])
    found = [(r["page"], r["id"]) for r in collect(tmp_path)]
    assert found == [
        ("appendices/a", "a"),
        ("chapters/01_a", "y"),
        ("chapters/01_a", "c"),
        ("chapters/01_a", "b"),
        ("chapters/02_b", "z"),
    ]


def test_other_cells_and_outputs_are_passed_over(tmp_path):
    notebook = {
        "cells": [
            {"cell_type": "markdown", "source": "text"},
            {"cell_type": "code", "outputs": [{"output_type": "stream", "name": "stdout", "text": "hello"}]},
            {"cell_type": "code", "outputs": [{"output_type": "display_data", "data": {}, "metadata": {}}]},
        ]
    }
    (tmp_path / "page.ipynb").write_text(json.dumps(notebook))
    assert collect(tmp_path) == []


@pytest.mark.parametrize("other", ["a.ipynb", "b.ipynb"])
def test_id_must_be_unique_in_the_book(tmp_path, other):
    pages = {"a.ipynb": [record("same")]}
    pages[other] = [*pages.get(other, []), record("same")]
    for name, records in pages.items():
        write_page(tmp_path / name, records)
    with pytest.raises(ValueError, match=f"claim same is made twice, on a and on {other[0]}"):
        collect(tmp_path)


@pytest.mark.parametrize("schema", [SCHEMA + 1, None])
def test_record_of_another_schema(tmp_path, schema):
    write_page(tmp_path / "a.ipynb", [{**record("new"), "schema": schema}])
    with pytest.raises(ValueError, match=f"a: record new has schema {schema}, not {SCHEMA}"):
        collect(tmp_path)


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no executed notebooks at"):
        collect(tmp_path / "missing")


@pytest.mark.parametrize(
    "text",
    [
        "σ² → ½ “Grüße” 字",
        "a\nb\tc",
        "a\u2028b\u0085c",
    ],
    ids=["unicode", "breaks", "exotic breaks"],
)
def test_ledger_reads_back_what_it_wrote(tmp_path, text):
    records = [{"page": "p", **record("a", text)}, {"page": "q", **record("b")}]
    path = tmp_path / "new folder" / "claims.jsonl"
    write_ledger(records, path)
    assert read_ledger(path) == records


def test_ledger_has_a_line_a_record_and_is_replaced(tmp_path):
    path = tmp_path / "claims.jsonl"
    write_ledger([record("a"), record("b")], path)
    write_ledger(iter([record("c"), record("d"), record("e")]), path)
    assert len(path.read_text(encoding="utf-8").splitlines()) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["claims.jsonl"]


def test_ledger_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "claims.jsonl"
    write_ledger([record("a")], path)
    with pytest.raises(TypeError):
        write_ledger([record("b"), {"id": object()}], path)
    assert [r["id"] for r in read_ledger(path)] == ["a"]


def test_empty_ledger(tmp_path):
    write_ledger([], tmp_path / "claims.jsonl")
    assert read_ledger(tmp_path / "claims.jsonl") == []


def test_ledger_named_by_the_environment(tmp_path, monkeypatch):
    path = tmp_path / "elsewhere.jsonl"
    write_ledger([record("a")], path)
    monkeypatch.setenv("SIGNALPROP_LEDGER", str(path))
    assert [r["id"] for r in read_ledger()] == ["a"]


def test_ledger_of_the_build_is_the_default(tmp_path, monkeypatch):
    monkeypatch.delenv("SIGNALPROP_LEDGER", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no ledger at .*_build/claims.jsonl.* set SIGNALPROP_LEDGER"):
        read_ledger()
    write_ledger([record("a")], tmp_path / "_build" / "claims.jsonl")
    assert [r["id"] for r in read_ledger()] == ["a"]
