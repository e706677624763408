"""`azureml.pipeline`: pipelines, which are training."""
