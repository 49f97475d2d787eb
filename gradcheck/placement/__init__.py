"""Segments on devices and in other processes: TensorFlow servers, joined, asked and watched; variables moved to them."""
