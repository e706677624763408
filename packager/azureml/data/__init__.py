"""`azureml.data`: datasets as far as they hold sample requests."""

from packager.azureml.data.dataset import FileDataset, TabularDataset

__all__ = ["FileDataset", "TabularDataset"]
