"""Copies of tensors with what Keras hides on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.keras_private import logits_of, mask_of, set_logits, set_mask

if TYPE_CHECKING:
    from collections.abc import Callable


def copied(tensor: Any, by: Callable[[Any], Any] = tf.identity) -> Any:
    """Return a copy of `tensor`, made by `by`, that a tape distinguishes from the original.

    Two attributes that Keras sets on tensors, and `tf.identity` does not copy, are copied as well: the mask for the
    next layer, and the logits that a loss uses in place of the output of a softmax or sigmoid.
    """
    copy = by(tensor)
    for hidden_on, hide in ((mask_of, set_mask), (logits_of, set_logits)):
        hidden = hidden_on(tensor)  # AutoGraph, which converts this with a user's step, has no `:=`
        if hidden is not None:
            hide(copy, hidden)
    return copy
