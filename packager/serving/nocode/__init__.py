"""Models without code: what a model file tells of itself, and the entry script and swagger that are made for it."""
