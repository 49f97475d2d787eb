"""docs/zoo.md and the zoo: the same names in both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.zoo.layers import CASES as LAYERS
from tests.zoo.models.cases import CASES
from tests.zoo.table import MARK, Row, aligned, documented, rewritten
from tests.zoo.test_applications import SIZES
from tests.zoo.test_state import MODELS as STATEFUL

if TYPE_CHECKING:
    from pathlib import Path

MODELS = {
    *(case.name for case in CASES),
    *("gan_discriminator", "gan_frozen_discriminator"),
    *(f"{name}{execution}" for name in STATEFUL for execution in ("", " (graph)")),
}
NAMES = {"application": set(SIZES), "layer": {case.name for case in LAYERS}, "model": MODELS}


@pytest.mark.parametrize("group", NAMES)
def test_the_documents_table_holds_the_whole_zoo(root: Path, group: str) -> None:
    document = (root / "docs/zoo.md").read_text(encoding="utf-8")
    rows = [name for _, (found, name) in documented(document) if found == group]
    assert sorted(rows) == sorted(NAMES[group]), "write it anew: pytest -m zoo -q --zoo-table docs/zoo.md"


def test_every_model_in_the_document_has_passed(root: Path) -> None:
    document = (root / "docs/zoo.md").read_text(encoding="utf-8")
    assert [line for line, _ in documented(document) if not line.endswith("| pass |")] == []


def row(group: str, name: str) -> Row:
    return Row(group=group, name=name, segments=3, weights=7, boundaries=2, gradients="10 exact", verdict="pass")


def test_a_run_writes_its_own_groups_anew_and_leaves_the_others() -> None:
    first = rewritten(f"# The zoo\n\n{MARK}\n", [row("layer", "GRU"), row("layer", "LSTM"), row("model", "unet")])
    assert first.startswith(f"# The zoo\n\n{MARK}\n\n| group | name |")
    second = rewritten(first, [row("application", "VGG16"), row("layer", "RNN")])
    assert [pair for _, pair in documented(second)] == [("application", "VGG16"), ("layer", "RNN"), ("model", "unet")]
    assert second.count("group") == 1


def test_columns_are_aligned() -> None:
    head, *lines, count = aligned([row("layer", "GRU"), row("model", "two_tower")]).splitlines()
    assert {line.index("10 exact") for line in lines} == {head.index("gradients")}
    assert count == "2 in the zoo"
