"""What can be done with orders: one file a use; asks the world through the ports."""
