"""The storefront: the shop's web pages, which speak to the public API and to nothing else."""
