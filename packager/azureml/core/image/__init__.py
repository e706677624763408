"""`azureml.core.image`: images by the API that came before `Model.deploy`."""

from packager.azureml.core.image.container import ContainerImage
from packager.azureml.core.image.image import Image

__all__ = ["ContainerImage", "Image"]
