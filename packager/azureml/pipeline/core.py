"""`azureml.pipeline.core`: pipelines, whose names raise when they are used."""

from packager.azureml.train import __getattr__ as __getattr__
