"""What a model's file tells of itself; nothing of it is loaded or run."""
