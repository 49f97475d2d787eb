"""Methods that measure derivatives along directions: forward mode, finite differences, second order."""
