"""What messages of every folder say alike."""

from __future__ import annotations

from gradcheck import phrases


def test_names_above_the_most_are_a_count() -> None:
    assert phrases.some(["a", "b"], most=2) == "a, b"
    assert phrases.some(["a", "b", "c"], most=2) == "a, b, and 1 more"
    assert phrases.first(["a", "b", "c"], most=1) == ["a", "and 2 more"]


def test_no_names_are_said() -> None:
    assert phrases.listed([]) == "none"
    assert phrases.listed(["a", "b"]) == "a, b"


def test_counts() -> None:
    assert phrases.plural(1, "boundary", "boundaries") == "1 boundary"
    assert phrases.plural(1200, "row") == "1,200 rows"


def test_the_name_that_was_meant() -> None:
    known = ["Dense", "Flatten", "Conv2D"]
    assert phrases.nearest("desne", known) == "Dense"
    assert phrases.did_you_mean("Desne", known) == "did you mean `Dense`?"
    assert phrases.did_you_mean("x", known, "look it up") == "look it up"
    assert phrases.nearest("gate", ["gates", "blocks/0/gate"]) == "blocks/0/gate"
    assert phrases.nearest("gate", ["blocks/0/gate", "gate"]) == "gate"
    assert phrases.nearest("blocks/0/gat", ["blocks/0/gate", "gate"]) == "blocks/0/gate"
    assert (
        phrases.suggestion("Desne", known, "Known", most=2) == "did you mean `Dense`? Known: Dense, Flatten, and 1 more"
    )
    assert phrases.suggestion("x", [], "Known") == "Known: none"
