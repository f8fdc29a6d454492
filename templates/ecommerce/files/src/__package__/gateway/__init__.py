"""The gateway: the public API over HTTP, made from the contract, and the pages beside it."""
