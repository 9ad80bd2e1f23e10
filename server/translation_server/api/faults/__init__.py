"""What goes wrong with an answer."""
