"""The method options of prodkit, compiled from options.proto beside."""
