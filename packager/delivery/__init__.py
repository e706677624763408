"""Which version of a model is to be delivered next, and what is remembered of those that were."""
