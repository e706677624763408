"""What stands before the backends of a named service, in a container or a process of its own."""
