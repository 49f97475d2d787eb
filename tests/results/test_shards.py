"""The reports of several machines as one: in the order of the whole list, complete, and nothing twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gradcheck.errors import ExitCode
from gradcheck.results.origin import Environment, Shard, Tool
from gradcheck.results.report import Report, RunReport, Summary
from gradcheck.results.shards import joined, unlike

CODES = {"pass": 0, "fail": 1, "error": 3, "vacuous": 4}


def run(name: str, verdict: Any = "pass") -> RunReport:
    return RunReport(
        name=name, config=f"{name}.yaml", seed=0, precision="float32", execution="eager", verdict=verdict,
        exit_code=CODES[verdict],
    )  # fmt: skip


def report(*runs: RunReport, shard: Shard | None = None, **environment: Any) -> Report:
    tool = Tool(name="gradcheck", version="1")
    return Report(
        tool=tool, environment=Environment(**environment), summary=Summary.of(runs), runs=tuple(runs), shard=shard
    )


def shards(runs: list[RunReport], count: int) -> dict[str, Report]:
    """The reports of `count` machines, the last one first."""
    all_ = [Shard(index=i, count=count, configs=len(runs)) for i in range(count, 0, -1)]
    return {f"{shard.index}.json": report(*shard.share(runs), shard=shard) for shard in all_}


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("configs", [1, 2, 5, 7])
def test_shards_join_to_the_report_of_one_run(configs: int, count: int) -> None:
    verdicts = ("pass", "fail", "pass", "vacuous", "error", "pass", "pass")
    runs = [run(f"c{i}", verdicts[i]) for i in range(configs)]
    assert joined(shards(runs, count)) == report(*runs)


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [(("pass", "pass"), ExitCode.OK), (("pass", "vacuous"), 4), (("fail", "vacuous"), 1), (("fail", "error"), 3)],
)
def test_the_most_serious_verdict_counts(verdicts: tuple[str, str], code: int) -> None:
    parts = shards([run("a", verdicts[0]), run("b", verdicts[1])], 2)
    assert joined(parts).exit_code == code
    assert joined(parts).summary.passed == verdicts.count("pass")


def test_a_missing_shard_is_named() -> None:
    parts = shards([run(f"c{i}") for i in range(5)], 4)
    del parts["3.json"], parts["1.json"]
    with pytest.raises(ValueError, match=r"^missing: shard 1/4, 3/4$"):
        joined(parts)


def test_many_missing_shards_are_counted() -> None:
    parts = {"1.json": report(run("a"), shard=Shard(index=1, count=10**9, configs=1))}
    with pytest.raises(ValueError, match=r"20/1000000000, 21/1000000000, and 999999979 more$"):
        joined(parts)


def test_a_shard_that_is_there_twice_is_named() -> None:
    parts = shards([run(f"c{i}") for i in range(5)], 2)
    with pytest.raises(ValueError, match=r"^there twice: shard 2/2 \(2.json, copy.json\)$"):
        joined({**parts, "copy.json": parts["2.json"]})


def test_shards_of_different_lists_do_not_join() -> None:
    parts = shards([run("a"), run("b")], 2)
    other = shards([run("c"), run("d"), run("e")], 2)
    with pytest.raises(ValueError, match=r"different lists: 2 configs in 2 shards in 1.json; 3 configs in 2 shards"):
        joined({"1.json": parts["1.json"], "2.json": other["2.json"]})


def test_shards_and_whole_reports_do_not_join() -> None:
    with pytest.raises(ValueError, match=r"^whole.json: no report of a shard, as 2.json, 1.json are"):
        joined({**shards([run("a"), run("b")], 2), "whole.json": report(run("c"))})


def test_whole_reports_join_unless_they_share_a_config() -> None:
    assert joined({"a": report(run("x"), run("y")), "b": report(run("z", "fail"))}) == report(
        run("x"), run("y"), run("z", "fail")
    )
    with pytest.raises(ValueError, match=r"y.yaml is in a and in b"):
        joined({"a": report(run("x"), run("y")), "b": report(run("y"))})


def test_a_report_of_a_shard_survives_json() -> None:
    part = report(run("a"), shard=Shard(index=2, count=3, configs=5))
    assert Report.from_json(part.to_json()) == part
    with pytest.raises(ValueError, match="expected a shard I/N"):
        Report.from_json(part.to_json().replace('"index": 2', '"index": 4'))


def test_what_differs_is_told() -> None:
    parts = {
        "a.json": report(run("a"), shard=Shard(index=1, count=2, configs=4), keras="3.8", commit="abc"),
        "b.json": report(run("b"), run("d"), shard=Shard(index=2, count=2, configs=4), keras="3.15", commit="abc"),
    }
    parts["b.json"] = replace(parts["b.json"], tool=Tool(name="gradcheck", version="2"))
    assert list(unlike(parts)) == [
        "keras differs: 3.8 in a.json, 3.15 in b.json",
        "gradcheck differs: 1 in a.json, 2 in b.json",
        "a.json ended early: it has 1 of the 2 configs of shard 1/2",
    ]
    assert list(unlike(shards([run("a"), run("b"), run("c")], 2))) == []
