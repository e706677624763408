"""`azureml.core.script_run_config`: training."""

from packager.azureml.core.runconfig import ScriptRunConfig

__all__ = ["ScriptRunConfig"]
