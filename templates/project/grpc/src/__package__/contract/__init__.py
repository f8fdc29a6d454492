"""The contract: what the services say to each other and to the world, and the code made of it."""
