"""Catalog: products, and stock that is never sold twice."""
