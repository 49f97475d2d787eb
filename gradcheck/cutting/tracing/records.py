"""What a trace consists of: the calls inside a layer, and the layers that were opened or stay one call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

    from gradcheck.errors import Location


@dataclass(frozen=True, eq=False, kw_only=True)
class TracedCall:
    """One call of a layer or operation inside.

    Attributes:
        path: its path from the traced layer on.
        operation: the layer or operation.
        arguments: Keras's `SymbolicArguments`.
        outputs: the KerasTensors that it returned.
        training: the flag it was called with, if that is not the flag of the trace; otherwise None.
        autocast: the dtype to which variables among its arguments are cast; None for their own.
    """

    path: str
    operation: Any
    arguments: Any
    outputs: Sequence[Any]
    training: bool | None = None
    autocast: str | None = None

    @property
    def input_tensors(self) -> Sequence[Any]:
        """The KerasTensors among the arguments, as `Node` has them."""
        return self.arguments.keras_tensors  # type: ignore[no-any-return]  # Keras has no types


@dataclass(frozen=True, eq=False, kw_only=True)
class Opened:
    """A layer whose calls are part of the trace: its arguments, its outputs, and the number of calls before and after.

    Attributes:
        path: its path from the traced layer on; "" for that layer itself.
        layer: the layer.
        arguments: of its `call`, as `(args, kwargs)`.
        outputs: in the structure that it returns.
        start: how many calls of the trace were made before it.
        stop: how many had been made at its end.
    """

    path: str
    layer: keras.Layer
    arguments: Any
    outputs: Any
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class Closed:
    """A layer made of layers that stays one call: its path, its class, the reason, and the user's line if known."""

    path: str
    kind: str
    reason: str
    location: Location | None = None

    @property
    def note(self) -> str:
        """The note for the reader."""
        place = ""
        if self.location is not None:
            said = f": `{self.location.excerpt.strip()}`" if self.location.excerpt else ""
            place = f" ({self.location.path.name}:{self.location.line}{said})"
        return f"{self.path or 'the model'} ({self.kind}) stays one call and is not cut inside: {self.reason}{place}"


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerTrace:
    """The calls inside a layer, in the order of the program.

    Attributes:
        calls: of layers and operations.
        entries: the tensors that the layer is called with, each with the KerasTensor that the calls take for it.
        outputs: the KerasTensors that the layer returns.
        opened: the layers whose calls are listed, an inner one before the one around it.
        closed: the layers made of layers that stay one call.
    """

    calls: Sequence[TracedCall] = ()
    entries: Sequence[tuple[Any, Any]] = ()
    outputs: Sequence[Any] = ()
    opened: Sequence[Opened] = ()
    closed: Sequence[Closed] = ()
