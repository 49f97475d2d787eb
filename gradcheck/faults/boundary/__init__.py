"""GC101 to GC109: mistakes where tensors and cotangents cross from one segment to another."""
