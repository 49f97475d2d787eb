"""GC101 to GC113: mistakes where tensors and cotangents cross from one segment to another."""
