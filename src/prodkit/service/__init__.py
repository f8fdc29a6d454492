"""The composition root: lifecycle, health, settings, workers; one page that is a whole service."""
