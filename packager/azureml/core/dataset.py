"""`Dataset`: files that hold sample requests."""

from packager.azureml.data.dataset import Dataset

__all__ = ["Dataset"]
