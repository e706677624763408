"""`azureml.core.compute_target`: the exception that scripts import from here."""

from packager.azureml.exceptions import ComputeTargetException, UserErrorException

__all__ = ["ComputeTargetException", "UserErrorException"]
