"""The tables of methods, ways and report keys, and the generated reference of the config, are complete."""

from __future__ import annotations

import dataclasses
import re

from gradcheck import check
from gradcheck.config import json_schema
from gradcheck.results.report import SCHEMA_VERSION, Diagnosis
from scripts.config_reference import PAGE, document
from tests.docs.pages import PAGES

WAYS = PAGES["docs/ways.md"]


def test_every_method_is_in_a_table_and_no_other() -> None:
    from gradcheck.config.sections.methods import METHODS
    from gradcheck.config.sections.methods import WAYS as KNOWN

    named = set(re.findall(r"^\| `(\w+)` \|", PAGES["docs/methods.md"], re.MULTILINE))
    assert named == {"tape", *METHODS} - set(KNOWN)
    table = WAYS.partition("| way | against the plain loop |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(KNOWN)


def test_every_way_of_training_has_a_section() -> None:
    from gradcheck.config.sections.methods import WAYS as KNOWN

    assert [title for title in re.findall(r"^## (\w+)$", WAYS, re.MULTILINE) if title in KNOWN] == list(KNOWN)


def test_the_report_keys_exist() -> None:
    model = {"input": {"shape": [4]}, "layers": [{"Dense": 3}, {"Dense": 2}]}
    report = check({"model": model, "split": {"every": "layer"}}).to_dict()
    assert report["schema_version"] == SCHEMA_VERSION
    run = report["runs"][0]
    of_diagnosis = {field.name for field in dataclasses.fields(Diagnosis)}
    known = {*report, *run, *run["checks"][0], *run["checks"][0]["tensors"][0], *of_diagnosis}
    text = PAGES["docs/reading.md"].partition("`--format json` is for programs.")[2].partition("##")[0]
    values = {"pass", "fail", "error", "vacuous", "null"}
    named = set(re.findall(r"`(\w+)`", text))
    assert len(named) > 40
    assert named - values - known == set()


def test_the_reference_of_the_config_is_the_generated_one() -> None:
    shown = PAGES[PAGE.relative_to(PAGE.parents[1]).as_posix()]
    assert shown == document(json_schema()), "run: python -m scripts.config_reference"


def test_the_reference_has_every_key() -> None:
    def keys(schema: object) -> set[str]:
        if isinstance(schema, dict):
            own = set(schema["properties"]) if isinstance(schema.get("properties"), dict) else set()
            return own.union(*map(keys, schema.values()))
        return set().union(*map(keys, schema)) if isinstance(schema, list) else set()

    shown = set(re.findall(r"`([\w]+)`", document(json_schema())))
    assert keys(json_schema()) - shown == set()


def test_an_undescribed_key_is_seen() -> None:
    schema = {"title": "Config", "properties": {"size": {"type": "integer"}}, "$defs": {}}
    assert "| `size` | whole number |  |  |" in document(schema)
