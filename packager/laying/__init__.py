"""A locked environment of one platform → a folder; and whether what is in it will start."""
