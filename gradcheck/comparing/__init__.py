"""The reference, and a method's tensors beside it: keys, records, noise floors, missing gradients, float64."""
