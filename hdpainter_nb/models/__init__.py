"""Networks: opening them and talking to them."""
