"""Layers in plain NumPy, with gradients derived by hand."""

from __future__ import annotations

from typing import Any


class MatMul:
    """y = x · Wᵀ. So dLoss/dx = dLoss/dy · W and dLoss/dW = (dLoss/dy)ᵀ · x."""

    def __init__(self, units: int) -> None:
        self.units = units

    def weights(self, input_shape: tuple[int | None, ...]) -> dict[str, Any]:
        """One weight of shape (units, features)."""
        return {"W": (self.units, input_shape[-1])}

    def forward(self, x: Any) -> Any:
        """(batch, features) to (batch, units)."""
        self.x = x  # what backward needs
        return x @ self.W.T

    def backward(self, dy: Any) -> Any:
        """The gradient of x, and that of each weight."""
        return dy @ self.W, {"W": dy.T @ self.x}
