"""What the user's code does with TensorFlow while it runs: gradient calls, compiled functions, and their lines."""
