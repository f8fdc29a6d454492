"""Where policies keep what must outlive a call: adapters for the Protocols beside each policy."""
