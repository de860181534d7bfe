"""What more than one door (admin, API) needs. It imports none of them."""
