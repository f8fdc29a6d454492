"""What an order is and what it costs; knows no database and no wire."""
