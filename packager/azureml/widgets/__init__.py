"""`azureml.widgets`: pictures of runs, which are training."""

from packager.azureml.calling import trains

RunDetails = trains("RunDetails")
