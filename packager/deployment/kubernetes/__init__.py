"""A workload on Kubernetes: a Deployment and what belongs to it, or KServe's InferenceService."""

from packager.deployment.kubernetes.removal import removal
from packager.deployment.kubernetes.render import render

__all__ = ["removal", "render"]
