"""`gradcheck layer A --against B`: two implementations of one layer or function, side by side."""

from gradcheck.session.against.beside import checks_against

__all__ = ["checks_against"]
