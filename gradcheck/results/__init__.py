"""Frozen result records, to and from JSON. They hold no tensor, and import no TensorFlow."""
