"""Orders: carts, prices, the order's life, and the checkout saga."""
