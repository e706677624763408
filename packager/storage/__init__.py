"""What is kept on this machine: files by their digest, models, memories, and how files are read and written."""
