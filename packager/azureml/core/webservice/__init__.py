"""`azureml.core.webservice`: services of this machine, whatever they are called."""

from packager.azureml.core.webservice.aci import AciWebservice
from packager.azureml.core.webservice.aks import AksEndpoint, AksWebservice
from packager.azureml.core.webservice.local import LocalWebservice
from packager.azureml.core.webservice.webservice import Webservice

__all__ = ["AciWebservice", "AksEndpoint", "AksWebservice", "LocalWebservice", "Webservice"]
