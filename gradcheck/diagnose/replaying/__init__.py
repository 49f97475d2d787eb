"""Replays: faults injected into a correct split until one gives the observed gradients."""
