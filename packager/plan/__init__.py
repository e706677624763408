"""What an image is made of, as values. Pure."""
