"""Tables, answers and bars as a notebook shows them."""
