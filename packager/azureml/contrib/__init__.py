"""Parts of `azureml.contrib` that scripts import."""
