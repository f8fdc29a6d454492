"""`ecommerce backup` and `ecommerce restore`: all databases of the shop as of one instant."""
