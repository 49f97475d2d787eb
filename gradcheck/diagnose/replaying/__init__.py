"""Injecting faults into a correct split until one gives the gradients that were observed."""
