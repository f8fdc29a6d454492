"""The outside world: a payment provider, SMS and push gateways and a mailbox, which can fail."""
