"""Notifications: what happened, told by mail, SMS or push, at least once."""
