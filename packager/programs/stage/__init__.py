"""What lays conda packages down: in a stage of a Dockerfile, and here."""
