"""An entry script over many inputs: split into mini-batches, run by workers, kept in a journal, joined in order."""
