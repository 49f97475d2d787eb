from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import pytest
from keras import ops

from gradcheck.cutting.balance import balanced, crossing_bytes
from gradcheck.cutting.cost import flops
from gradcheck.cutting.cut import CutError, accepted_names, cut_after, cut_every, cut_parts, resolve
from gradcheck.cutting.model_graph import Graph, TensorRef, flatten
from tests.cutting.traced_models import around, block, graph_of

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def graph() -> Graph:
    """x -> a -> b -> c -> d, with a skip from a to d, a second input into c, and b called again at the end."""
    keras.utils.clear_session(free_memory=False)
    x, z = keras.Input((4,), name="x"), keras.Input((4,), name="z")
    shared = keras.layers.Dense(4, name="b")
    a = keras.layers.Dense(4, name="a")(x)
    c = keras.layers.Add(name="c")([shared(a), z])
    d = keras.layers.Concatenate(name="d")([c, a])
    e = keras.layers.Dense(4, name="e")(d)
    return flatten(keras.Model([x, z], shared(e)))


def names(graph: Graph, refs: tuple[TensorRef, ...]) -> list[str]:
    return [graph.name(ref) for ref in refs]


def test_a_cut_closes_over_all_that_the_call_needs(graph: Graph) -> None:
    first, second = cut_after(graph, ["c"]).segments
    assert {graph.calls[i].name for i in first.calls} == {"a", "b", "c"}
    assert {graph.calls[i].name for i in second.calls} == {"d", "e", "b:2"}


def test_a_skip_connection_passes_over_whole_segments(graph: Graph) -> None:
    plan = cut_after(graph, ["a", "c"])
    assert names(graph, plan.segments[2].inputs) == ["c", "a"]
    assert {graph.name(ref): segment for ref, segment in plan.boundaries.items()} == {"a": 0, "c": 1}


def test_a_segment_takes_model_inputs_where_it_needs_them(graph: Graph) -> None:
    plan = cut_after(graph, ["b:1"])
    assert names(graph, plan.segments[0].inputs) == ["x"]
    assert "z" in names(graph, plan.segments[1].inputs)


def test_an_output_that_its_own_segment_uses_too_is_marked(graph: Graph) -> None:
    plan = cut_after(graph, ["c"])
    assert names(graph, tuple(plan.segments[0].reused)) == ["a"]


def called_twice(shared: keras.layers.Layer) -> Graph:
    """`shared` is called on z, then on x: Keras runs the path of the later argument first."""
    x, z = keras.Input((4,), name="x"), keras.Input((4,), name="z")
    first, second = keras.layers.Dense(4, name="first"), keras.layers.Dense(4, name="second")
    joined = keras.layers.Add(name="joined")([first(shared(x)), second(shared(z))])
    return flatten(keras.Model([x, z], keras.layers.Dense(2, name="last")(joined)))


def frozen() -> keras.layers.Layer:
    return keras.layers.Dense(4, trainable=False, name="shared")


@pytest.mark.parametrize(
    ("shared", "taken"),
    [
        (lambda: keras.layers.Dropout(0.5, name="shared"), {"shared", "shared:2", "first"}),
        (lambda: keras.layers.BatchNormalization(name="shared"), {"shared", "shared:2", "first"}),
        (
            lambda: keras.Sequential([keras.layers.Dropout(0.5)], name="shared"),
            {"first", "shared/dropout", "shared/dropout:2"},
        ),
        (frozen, {"shared:2", "first"}),
        (lambda: keras.layers.Dense(4, name="shared"), {"shared:2", "first"}),
    ],
)
def test_calls_that_move_the_same_state_stay_in_order(
    shared: Callable[[], keras.layers.Layer], taken: set[str]
) -> None:
    keras.utils.clear_session(free_memory=False)
    graph = called_twice(shared())
    plan = cut_after(graph, ["first"])
    assert {graph.calls[i].name for i in plan.segments[0].calls} == taken
    along = min(taken - {"first"}) if len(taken) > 2 else ""
    assert plan.notes == (
        (f"the cut after 'first' takes {along} along: calls that move the same state stay in order",) if along else ()
    )
    assert cut_every(graph).notes == cut_after(graph, ["second"]).notes == ()


def test_a_name_called_several_times_means_its_last_call(graph: Graph) -> None:
    assert resolve(graph, "b")[0] == resolve(graph, "b:2")[0] != resolve(graph, "b:1")[0]


def test_indices_count_calls_without_input_layers(graph: Graph) -> None:
    assert resolve(graph, 0)[0].call == 0


@pytest.mark.parametrize("name", ["B", "b:3", -1, 6, "x"])
def test_unknown_names_are_refused(graph: Graph, name: str | int) -> None:
    with pytest.raises(CutError) as caught:
        cut_after(graph, ["a", name])
    assert caught.value.code == "GC023"
    assert caught.value.keys == ("split", "after", 1)


def test_the_nearest_name_is_suggested() -> None:
    x = keras.Input((4,))
    with pytest.raises(CutError) as caught:
        cut_after(flatten(keras.Model(x, keras.layers.Dense(2, name="encoder")(x))), ["enocder"])
    assert "did you mean `encoder`" in str(caught.value.help)


@pytest.mark.parametrize(("after", "position"), [(["c", "a"], 1), (["c", "c"], 1), (["a", "b:2"], 1)])
def test_a_cut_that_adds_nothing_is_refused(graph: Graph, after: list[str], position: int) -> None:
    with pytest.raises(CutError, match="adds nothing") as caught:
        cut_after(graph, after)
    assert caught.value.code == "GC024"
    assert caught.value.keys[-1] == position


def test_every_layer_makes_one_segment_for_each_call(graph: Graph) -> None:
    assert [segment.calls for segment in cut_every(graph).segments] == [(i,) for i in range(len(graph.calls))]


def test_every_accepted_name_is_accepted(graph: Graph) -> None:
    for name in accepted_names(graph):
        assert resolve(graph, name)


def test_parts_are_as_even_as_they_can_be() -> None:
    x = keras.Input((8,))
    y = x
    for _ in range(12):
        y = keras.layers.Dense(8)(y)
    graph = flatten(keras.Model(x, y))
    assert [len(segment.calls) for segment in cut_parts(graph, 4).segments] == [3, 3, 3, 3]


def test_of_equal_parts_the_one_with_fewest_crossing_bytes_is_taken() -> None:
    x = keras.Input((64,))
    narrow = keras.layers.Dense(2, name="narrow")(x)
    wide = keras.layers.Dense(64, name="wide")(narrow)
    relu = keras.layers.ReLU(name="relu")(wide)
    graph = flatten(keras.Model(x, keras.layers.Dense(2, name="out")(relu)))
    groups = balanced(graph, 2)
    limit = max(sum(flops(graph.calls[i]) for i in group) for group in groups)
    crossing = crossing_bytes(graph)
    feasible = [
        crossing[cut]
        for cut in range(1, len(graph.calls))
        if max(sum(map(flops, graph.calls[:cut])), sum(map(flops, graph.calls[cut:]))) <= limit
    ]
    assert crossing[groups[1].start] == min(feasible)


def test_more_parts_than_calls_is_a_warning() -> None:
    x = keras.Input((8,))
    plan = cut_parts(flatten(keras.Model(x, keras.layers.Dense(2)(keras.layers.Dense(2)(x)))), 5)
    assert len(plan.segments) == 2
    assert "fewer than parts: 5" in plan.warnings[0]


def with_loss(layer: Any, x: Any, _: Any) -> Any:
    h = layer.dense(x)
    layer.add_loss(ops.mean(ops.square(h)))
    return h


def segment_calls(graph: Graph, after: list[str | int]) -> list[list[str]]:
    return [[graph.calls[i].name for i in segment.calls] for segment in cut_after(graph, after).segments]


def test_a_cut_after_a_layer_takes_along_what_only_adds_its_loss() -> None:
    graph = graph_of(around(block(with_loss), block(with_loss), block()))
    first = [f"inner/0/{name}" for name in ("dense", "square", "mean", "add_loss")]
    second = [f"inner/1/{name}" for name in ("dense", "square", "mean", "add_loss")]
    assert segment_calls(graph, ["inner/0", "inner/1"]) == [first, second, ["inner/2/dense"]]
    assert segment_calls(graph, ["inner/1"]) == [[*first, *second], ["inner/2/dense"]]


def test_a_cut_inside_a_layer_takes_along_no_more_than_it_needs() -> None:
    def call(layer: Any, x: Any, _: Any) -> Any:
        h = with_loss(layer, x, None)
        return ops.relu(h)

    graph = graph_of(around(block(call), block()))
    assert segment_calls(graph, ["inner/0/dense"])[0] == ["inner/0/dense"]
    assert segment_calls(graph, ["inner/0"])[0] == [
        f"inner/0/{name}" for name in ("dense", "square", "mean", "add_loss", "relu")
    ]


def test_a_layer_that_only_hands_on_its_input_is_complete_with_that() -> None:
    def call(layer: Any, x: Any, _: Any) -> Any:
        with_loss(layer, x, None)
        return x

    graph = graph_of(around(block(), block(call), block()))
    first = ["inner/0/dense", *(f"inner/1/{name}" for name in ("dense", "square", "mean", "add_loss"))]
    assert segment_calls(graph, ["inner/1"])[0] == first
