"""`azureml.core.compute`: names of places; all of them are this machine."""

from packager.azureml.calling import trains
from packager.azureml.core.compute.aks import AksCompute
from packager.azureml.core.compute.compute import ComputeTarget
from packager.azureml.exceptions import ComputeTargetException

AmlCompute = trains("AmlCompute")
ComputeInstance = trains("ComputeInstance")
RemoteCompute = trains("RemoteCompute")
DatabricksCompute = trains("DatabricksCompute")
HDInsightCompute = trains("HDInsightCompute")
DsvmCompute = trains("DsvmCompute")

__all__ = [
    "AksCompute", "AmlCompute", "ComputeInstance", "ComputeTarget", "ComputeTargetException", "DatabricksCompute",
    "DsvmCompute", "HDInsightCompute", "RemoteCompute",
]  # fmt: skip
