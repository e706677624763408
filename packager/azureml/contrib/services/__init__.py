"""`azureml.contrib.services`: for scripts that are imported outside an image."""
