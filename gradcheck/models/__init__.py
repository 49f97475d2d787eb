"""TensorFlow starts here: models from each source, cut into segments, their batch, loss and state."""
