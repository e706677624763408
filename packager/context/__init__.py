"""Plan → layer trees: scan, stage, save, archive, verify."""
