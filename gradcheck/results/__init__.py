"""Frozen records of results, and their conversion to and from JSON. They hold no tensor and import no TensorFlow."""
