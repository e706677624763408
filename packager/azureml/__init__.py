"""Azure ML's SDK v1, as far as it registers, packages, deploys and asks models, on packager and without Azure.

Code that was written for it runs with one word changed, `azureml.core` → `packager.azureml.core`; or with none:

    python -m packager.azureml script.py ARGS

or, in the first cell of a notebook, `import packager.azureml; packager.azureml.install()`. Names, parameters and
printed lines are those of azureml-core 1.61; what is done is done by `packager.steps` and `packager.workspace`.
"""

from packager.azureml.aliases import install

__all__ = ["install"]
