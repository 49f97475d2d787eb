"""GC606 and GC607: mistakes of compilation and of per-example Jacobians."""
