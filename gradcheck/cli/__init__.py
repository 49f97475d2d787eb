"""The command line: one file for each command. Importing it does not import TensorFlow."""
