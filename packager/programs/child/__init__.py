"""What runs in a child process on this machine."""
