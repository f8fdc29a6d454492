"""Policies: each decides over a call, knows no door and imports no third-party package."""
