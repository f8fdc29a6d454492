"""What the gRPC door and the local door share: everything but the wire. Extra: `grpc`."""
