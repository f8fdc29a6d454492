"""What a .proto says of its methods, read once at start."""
