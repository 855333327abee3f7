"""The equations of the method: pure functions, one place each, gradients beside values."""
