"""The doors: what turns bytes and headers into calls, and refusals into wire statuses."""
