"""YAML with positions to frozen models. Imports no TensorFlow."""
