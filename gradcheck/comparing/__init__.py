"""The reference and the comparison with it: keys, records, noise floors, missing gradients, float64."""
