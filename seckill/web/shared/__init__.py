"""What more than one door needs. Knows none of them."""
