"""GC301: what to do depends on whether a layer or the loss couples the examples."""

from __future__ import annotations

from typing import Any

from gradcheck.faults.state.batch_statistics import BatchStatistics

MODEL = """
    model:
      input: {{shape: [3]}}
      layers: [Dense: {{units: 4, name: first}}, {norm}Dense: {{units: 2, name: out}}]
    split: {{after: [first]}}
    loss: {loss}
    data: {{batch_size: 7}}
"""
LOSSES = {
    "losses.py": """
        import tensorflow as tf

        def contrastive():
            def loss(y, embeddings):
                scores = tf.matmul(embeddings, embeddings, transpose_b=True)
                labels = tf.range(tf.shape(scores)[0])[::-1]
                return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores))
            return loss
    """
}
CONTRASTIVE = '{factory: "./losses.py:contrastive"}'
NORM = "BatchNormalization: {name: norm}, "


def advice(study: Any, loss: str, norm: str = "", count: int = 3) -> str | None:
    problem = study(MODEL.format(loss=loss, norm=norm), LOSSES).problem
    (injection,) = BatchStatistics().injections_over(problem, count)
    found: str | None = injection.advice()
    return found


def test_negatives_are_not_brought_back_by_another_normalisation(study: Any) -> None:
    found = advice(study, CONTRASTIVE)
    assert found is not None
    assert "cached embeddings" in found


def test_a_loss_of_single_examples_is_not_to_blame(study: Any) -> None:
    assert advice(study, "MeanSquaredError") is None
    assert advice(study, "MeanSquaredError", NORM) is None
    assert advice(study, "MeanSquaredError", count=4) is None  # with a shorter last slice
