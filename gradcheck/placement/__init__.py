"""Segments on devices and in other processes: TensorFlow servers, joined, asked and watched."""
