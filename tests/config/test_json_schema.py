from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from gradcheck.config import Config, json_schema
from gradcheck.config.yaml.document import read_document
from gradcheck.config.yaml.texts import SourceText

ROOT = Path(__file__).parents[2]
SHIPPED = [
    ROOT / "gradcheck" / "config" / "template.yaml",
    *sorted((ROOT / "configs").glob("**/*.yaml")),
    *sorted((ROOT / "tests" / "examples" / "passing").glob("**/*.yaml")),
]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(json_schema())


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(json_schema())


def test_the_committed_copy_is_the_generated_one() -> None:
    assert json.loads((ROOT / "docs" / "config.schema.json").read_text()) == json_schema()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configs_fit(validator: Draft202012Validator, path: Path) -> None:
    data = read_document(SourceText(path, path.read_text())).data()
    assert [error.message for error in validator.iter_errors(data)] == []


FITTING = """
- model:
    input: {a: {shape: [3]}, b: {shape: [null, 2], dtype: int32}}
    layers:
      - Dense
      - Dense: 3
      - Reshape: [4, 4]
      - Dense: {units: 3, name: x, inputs: [a, b], call_kwargs: {q: 1}}
      - {Add: null, inputs: [a, x]}
      - call: {layer: x, inputs: a, name: z}
      - numpy_layer: {class: "./l.py:M", kwargs: {a: 1}}
      - "./l.py:My": {units: 4}
    outputs: [x, z]
    weights: w.h5
- model: {segments: [{factory: "a:b"}, {file: x, trust: true}], reference: {application: ResNet50, kwargs: {a: null}}}
  placement: [cpu:0]
  memory_budget: 2GiB
- model: {file: x}
  split: {after: x}
  loss: {Huber: {delta: 2}}
  methods:
    [vjp, naive: {expect: mismatch}, numeric: {mode: full}, scan: null, candidate: {factory: "./a.py:b", name: q}]
  placement: {devices: [a], cluster: ["b:1"]}
  memory_budget: 100
- model: {factory: "a:b", kwargs: {c: 1}, input: {shape: [3, null], dtype: int32}}
- model: {segments: [{factory: "a:b", input: {a: {shape: [3]}}}, {file: x, input: {shape: [2]}}]}
- model: {file: x}
  split: {after: [1, a]}
  loss: [mse, {Huber: null}, {factory: "a:b", kwargs: {c: d}}]
  loss_weights: [1, 2.5]
  data: {inputs: normal, targets: {x: {constant: 3.0}, y: {npz: f.npz}}, sample_weight: {uniform: {minval: 0}}}
- model: {file: x}
  split: {time: {chunks: 2}}
  loss: {out: mse, out2: {Huber: {}}}
  loss_weights: {out: 1}
  tolerance: {noise: off, rtol: auto, atol: 0, overrides: {"a*": {rtol: 1}}}
  train: {steps: 2, optimizer: Adam}
- model: {file: x}
  split: {time: {lengths: [1, 3]}}
  train: {optimizer: {SGD: {learning_rate: 0.1}}}
  data: {images: {directory: d, image_size: [3, 4]}}
- model: {file: x}
  methods: [numeric: {points: [given, ones], surrogate: "./f.py:rule"}]
  verify_reference: always
  require: all
- model: {file: x}
  methods: all
- model: {file: x}
  methods: [vjp, all, fit: {class_weight: {0: 2.0}}, compiled: {sizes: [4, 2]}]
- model: {file: x}
  methods: [vjp: {expect: match}, numeric: {expect: {mismatch: ["quant/*", "gate/kernel"]}}]
"""
REFUSED = """
- {model: {file: x, truss: true}}
- {model: {file: x, factory: "a:b"}}
- {model: {factory: "a:b", input: [3]}}
- {model: {factory: "a:b", input: {shape: [3], size: 2}}}
- {model: {file: x, input: {shape: [0]}}}
- {model: {application: ResNet50, input: {shape: [3]}}}
- {model: {file: x}, methods: [nave]}
- {model: {file: x}, methods: al}
- {model: {file: x}, methods: vjp}
- {model: {file: x}, methods: []}
- {model: {file: x}, methods: [all: {}]}
- {model: {file: x}, methods: [accumulate: {steps: 1}]}
- {model: {file: x}, methods: [naive: {expct: match}]}
- {model: {file: x}, methods: [{naive: {}, vjp: {}}]}
- {model: {file: x}, split: {after: a, parts: 3}}
- {model: {file: x}, split: {}}
- {model: {input: {shape: [3]}, layers: [{Dense: 3, Conv: 2}]}}
- {model: {input: {shape: [3]}, layers: [{call: {layr: 2}}]}}
- {model: {file: x}, data: {inputs: {unform: {minval: 0}}}}
- {model: {file: x}, data: {inputs: {uniform: {minv: 0}}}}
- {model: {file: x}, data: {npz: a, factory: "a:b"}}
- {model: {file: x}, tolerance: {rtol: x}}
- {model: {file: x}, loss: {factory: 3}}
- {model: {file: x}, sed: 3}
- {model: {file: x}, verify_reference: on}
- {model: {file: x}, require: every}
- {model: {file: x}, methods: [numeric: {points: [zeroes]}]}
- {model: {file: x}, methods: [numeric: {points: []}]}
- {model: {file: x}, methods: [numeric: {surrogate: rule}]}
- {model: {file: x}, methods: [numeric: {expect: {mismatch: []}}]}
- {model: {file: x}, methods: [numeric: {expect: {match: ["a/*"]}}]}
- {model: {file: x}, methods: [numeric: {expect: ["a/*"]}]}
- {model: {file: x}, methods: [numeric: {expect: {mismatch: a}}]}
- {model: {file: x}, train: {optimizer: {SGD: 3}}}
- {}
"""


@pytest.mark.parametrize("raw", yaml.safe_load(FITTING))
def test_every_form_fits_the_schema_and_the_models(validator: Draft202012Validator, raw: Any) -> None:
    assert [error.message for error in validator.iter_errors(raw)] == []
    Config.model_validate(raw)


@pytest.mark.parametrize("raw", yaml.safe_load(REFUSED))
def test_what_the_models_refuse_the_schema_refuses(validator: Draft202012Validator, raw: Any) -> None:
    assert list(validator.iter_errors(raw))
    with pytest.raises(ValueError, match="validation error"):
        Config.model_validate(raw)


def test_every_key_of_the_config_is_described() -> None:
    assert [key for key, value in json_schema()["properties"].items() if not value.get("description")] == []
