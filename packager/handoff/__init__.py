"""Instructions for the people who receive a build context."""
