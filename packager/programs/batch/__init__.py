"""What runs an entry script over many inputs: `worker` beside the script, `pipe` on its machine."""
