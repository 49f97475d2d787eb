"""What is told of an exception that Keras or TensorFlow raised."""

from __future__ import annotations

import pytest

from gradcheck.building.messages import gist

XLA = (
    "Detected unsupported operations when trying to compile graph __inference_<lambda>_51123[_XlaMustCompile=true,"
    "executor_type=11160] on XLA_CPU_JIT: SparseFillEmptyRows (No registered 'SparseFillEmptyRows' OpKernel for "
    "XLA_CPU_JIT devices compatible with node {{node hidden_1/Rows}}){{node hidden_1/Rows}}\n"
    'The op is created at:\nFile "x.py", line 1, in <module>'
)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (XLA, "XLA cannot compile SparseFillEmptyRows (hidden_1/Rows)"),
        ("no shape\nat all", "no shape at all"),
        ("", "(no message)"),
        (
            "Exception encountered when calling Dense.call().\n\n\x1b[1mit broke\x1b[0m\n\nArguments received by it",
            "it broke",
        ),
        ("a\n" * 1000, "a " * 150 + " … " + " a" * 150),
        (
            (
                "{{function_node __wrapped__Sub_device_/job:localhost/device:CPU:0}} Incompatible shapes: [2,5] "
                "vs. [2,3] "
                "[Op:Sub] name: "
            ),
            "Incompatible shapes: [2,5] vs. [2,3]",
        ),
        (
            (
                "Graph execution error:\n\nDetected at node f defined at (most recent call last):\n"
                "<stack traces unavailable>\nindices = 7 is not in [0, 3)\n\t [[{{node f}}]] [Op:__inference_g_17]"
            ),
            "indices = 7 is not in [0, 3)",
        ),
        (
            (
                "Dimensions must be equal, but are 5 and 3 for '{{node a/sub}} = Sub[T=DT_FLOAT](x, y)' with "
                "input shapes: "
                "[2,5], [2,3]."
            ),
            "Dimensions must be equal, but are 5 and 3 with input shapes: [2,5], [2,3].",
        ),
        (
            (
                "Value for attr 'T' of double is not in the list of allowed values: half, bfloat16, float\n\t; "
                "NodeDef: "
                "{{node MaxPool3D}}; Op<name=MaxPool3D; signature=input:T -> output:T; attr=T:type> "
                "[Op:MaxPool3D] name: "
            ),
            "MaxPool3D takes no float64, only float16, bfloat16, float32",
        ),
        ("x " * 400 + "the reason", "x " * 150 + " … " + "x " * 145 + "the reason"),
        (
            'in user code:\n\n    File "m.py", line 5, in call  *\n        raise it\n\n    ValueError: bad\n',
            "ValueError: bad",
        ),
        (
            (
                "<class 'Functional'> could not be deserialized properly. Please ensure that.\n\nconfig={'a': {}}.\n\n"
                "Exception encountered: Error when deserializing class 'Hashing' using config={}.\n\n"
                "Exception encountered: Layer Hashing requires TensorFlow."
            ),
            "Layer Hashing requires TensorFlow.",
        ),
        (
            'Graph execution error:\n\nDetected at node f defined at:\n  File "m.py"\n\nassertion failed',
            "assertion failed",
        ),
    ],
)
def test_the_gist_of_a_message(message: str, expected: str) -> None:
    assert gist(ValueError(message)) == expected
