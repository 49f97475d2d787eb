"""GC606, GC607 and GC609: mistakes of compilation, of per-example Jacobians, and with custom gradients."""
