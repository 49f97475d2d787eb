"""Training set-ups as people write them, in each way of training: what each comes to is said at the top of its config.

`# expect: WAY match`, `# expect: WAY GC309 GC203` (the codes of the diagnosis, the first of them first), or
`# expect: WAY none` where the way does not apply. In CI a third of them, and two of those that are published;
`--families all` for all.
"""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def configs(folder: str) -> list[Path]:
    found = sorted((HERE / folder).glob("*.yaml"))
    assert found
    return found


def expected(path: Path) -> dict[str, list[str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    said = [line.partition("expect:")[2].split() for line in lines if line.startswith("# expect:")]
    assert said, path
    return {way: outcome for way, *outcome in said}


def came_out(path: Path) -> dict[str, list[str]]:
    """The outcome of each way: match, the codes of its diagnoses, or none."""
    from gradcheck import check

    (run,) = check(path).runs
    assert run.error is None, run.error
    ways = {
        each.method: ["match"] if each.outcome == "match" else [d.code for d in each.diagnoses] for each in run.checks
    }
    apart = [note.partition(" does not apply: ")[0] for note in run.notes if " does not apply: " in note]
    found = {**ways, **{way: ["none"] for way in apart}}
    return {way: outcome for way, outcome in found.items() if way not in ("jax", "torch")}  # where these are installed


@pytest.mark.third
@pytest.mark.parametrize("path", configs("right"), ids=lambda path: path.stem)
def test_a_right_way_agrees(path: Path) -> None:
    found = came_out(path)
    assert {way: found[way] for way in expected(path)} == expected(path)


@pytest.mark.third
@pytest.mark.parametrize("path", configs("wrong"), ids=lambda path: path.stem)
def test_a_mistake_is_diagnosed(path: Path) -> None:
    found = came_out(path)
    for way, (code, *_) in expected(path).items():
        assert found[way][0] == code


#: The published ones that are run in CI: in seconds, and with both outcomes but a difference.
QUICK = ("distillation", "mixed_precision")
PUBLISHED = [
    pytest.param(path, marks=() if path.stem in QUICK else pytest.mark.on_request) for path in configs("published")
]


@pytest.mark.parametrize("path", PUBLISHED, ids=[path.stem for path in configs("published")])
def test_a_published_set_up_is_diagnosed(path: Path) -> None:
    assert came_out(path) == expected(path)
