"""What starts a lab, watches over it and stops it."""
