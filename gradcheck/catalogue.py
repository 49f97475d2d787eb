"""Every code with its title. Reporters, errors and diagnosis name codes from here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a code stands for."""

    code: str
    title: str


def _entries(titles: dict[str, str]) -> dict[str, Entry]:
    return {code: Entry(code=code, title=title) for code, title in titles.items()}


CATALOGUE: dict[str, Entry] = _entries(
    {
        # The command line and the config (exit 2).
        "GC001": "file cannot be read",
        "GC002": "not valid YAML",
        "GC003": "unknown key",
        "GC004": "wrong value",
        "GC005": "missing key",
        "GC006": "duplicate key",
        "GC007": "keys that exclude each other",
        "GC008": "no config found",
        "GC009": "too large",
        "GC010": "wrong command line",
        "GC020": "unknown layer, loss, application or optimizer",
        "GC021": "layer cannot be built as written",
        "GC022": "name in the layers section not defined",
        "GC023": "unknown name in split",
        "GC024": "cut that adds nothing",
        "GC025": "model cannot be cut",
        "GC026": "method needs a split",
        "GC027": "method does not apply to this split",
        "GC028": "user code not found",
        "GC029": "refused in safe mode",
        "GC030": "data do not fit the model",
        "GC031": "loss does not fit the outputs",
        "GC032": "method not available",
        # What goes wrong while running (exit 3).
        "GC050": "unexpected error",
        "GC051": "the model could not be built",
        "GC052": "the data could not be made",
        "GC053": "the forward pass or the loss raised",
        "GC054": "a candidate raised",
        "GC055": "a candidate returned something unusable",
        "GC056": "does not fit the memory budget",
        "GC057": "timed out",
        "GC058": "a package is missing",
        "GC059": "compilation failed",
        # Faults of split gradients.
        "GC101": "cotangent missing",
        "GC102": "boundary detached",
        "GC103": "cotangent of the wrong shape",
        "GC104": "boundary cast to a lower precision",
        "GC105": "cotangent of one boundary tensor dropped",
        "GC106": "cotangents of boundary tensors swapped",
        "GC107": "Keras mask lost at the boundary",
        "GC108": "training flag lost at a segment",
        "GC109": "inputs and targets misaligned",
        "GC201": "micro-batch gradients summed, not averaged",
        "GC202": "micro-batch gradients averaged twice",
        "GC203": "ragged last micro-batch weighted like a full one",
        "GC204": "only the last micro-batch kept",
        "GC205": "gradients of the previous steps not cleared",
        "GC206": "last micro-batch left out",
        "GC301": "batch statistics per micro-batch",
        "GC302": "state updated twice",
        "GC303": "dropout mask drawn afresh",
        "GC304": "recurrent state detached",
        "GC305": "stale weights",
        "GC306": "optimizer stepped once per segment",
        "GC401": "a tied weight gets the gradient of one use only",
        "GC402": "gradients and variables out of order",
        "GC403": "no gradient for a trainable variable",
        "GC404": "duplicate sparse indices not summed",
        "GC405": "clipped per segment, not by the global norm",
        "GC406": "gradient transposed",
        "GC501": "auxiliary or regularisation loss dropped",
        "GC502": "auxiliary loss counted several times",
        "GC503": "loss scale not undone",
        "GC504": "sign flipped",
        "GC601": "custom gradient wrong",
        "GC602": "custom gradient ignored",
        "GC603": "custom gradient returns variables in the wrong order",
        "GC604": "custom gradient of the wrong shape or dtype",
        "GC605": "recomputation differs from the first forward",
        "GC606": "compiled differs from eager",
        "GC607": "per-example Jacobian used where the batch is coupled",
        # What a result means.
        "GC701": "dead gradients",
        "GC702": "nothing compared",
        "GC703": "not finite",
        "GC704": "the reference does not repeat itself",
        "GC801": "finite difference inconclusive",
        "GC802": "finite difference at a kink",
        "GC900": "mismatch that no known fault explains",
    }
)


def title(code: str) -> str:
    """The title of `code`. Raises KeyError for a code that is not in the catalogue."""
    return CATALOGUE[code].title
