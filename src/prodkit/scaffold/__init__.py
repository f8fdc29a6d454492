"""What `prodkit new` generates, and how a generated project follows its templates."""
