"""Payments: authorize, capture, confirm the order; or give everything back."""
