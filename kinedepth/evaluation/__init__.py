"""How well: metrics, protocols and the tables that print them."""
