"""A Keras model built from a config and the user's code, in its precision, and the state that it holds."""
