"""What verbs print with `--format json`: one type for each, with its version.

A verb whose result is one thing for each of several (targets, images, findings, services) prints a list, also where
there is one or none; every other prints an object. A version stays as long as fields are only added. What is printed as
it is has its own type in the table; where a verb prints it in other words, there is another one, in a module for each
family of verbs (`image_outputs`, `service_outputs` …).
"""

from __future__ import annotations

from typing import Any

from packager.batches.values import Summary as BatchSummary
from packager.builders.inspect import Inspected
from packager.context.verify import VerifyResult
from packager.delivery.values import Event
from packager.finding import Finding
from packager.reports.difference import Difference
from packager.steps import (
    deploy_outputs,
    image_outputs,
    lock_outputs,
    machine_outputs,
    named_outputs,
    output,
    profile_outputs,
    service_outputs,
    workspace_outputs,
)
from packager.steps.settings import Setting
from packager.steps.workspaces import WorkspaceSummary

#: Name for `packager schema` → type; that of a verb below a verb has both words.
OUTPUTS: dict[str, Any] = {
    "bake": image_outputs.Baked,
    "batch": BatchSummary,
    "build": list[image_outputs.Built],
    "build-verify": image_outputs.Compared,
    "check": list[Finding],
    "config-list": list[Setting],
    "deploy": deploy_outputs.DeployedTo,
    "diff": Difference,
    "doctor": list[machine_outputs.Examined],
    "environment-delete": list[workspace_outputs.Deleted],
    "environment-diff": list[lock_outputs.TargetMoves],
    "environment-download": workspace_outputs.Downloaded,
    "environment-list": list[named_outputs.CuratedSummary],
    "environment-register": workspace_outputs.Registered,
    "environment-show": named_outputs.CuratedDetails,
    "environment-verify": list[workspace_outputs.VersionVerified],
    "error": output.Error,
    "image-list": list[workspace_outputs.ImageListed],
    "import": named_outputs.Imported,
    "inspect": Inspected,
    "lock": lock_outputs.Locked,
    "lock-check": lock_outputs.Freshness,
    "model-delete": list[workspace_outputs.Deleted],
    "model-deploy": service_outputs.DeployedModels,
    "model-diff": workspace_outputs.ModelDifference,
    "model-download": workspace_outputs.Downloaded,
    "model-list": list[workspace_outputs.RegisteredSummary],
    "model-package": service_outputs.PackagedModels,
    "model-profile": profile_outputs.Profiled,
    "model-pull": workspace_outputs.Registered,
    "model-push": workspace_outputs.VersionPushed,
    "model-register": workspace_outputs.Registered,
    "model-show": workspace_outputs.ModelShown,
    "model-update": workspace_outputs.Registered,
    "model-verify": list[workspace_outputs.VersionVerified],
    "plan": list[image_outputs.Planned],
    "pull": image_outputs.Pulled,
    "push": list[image_outputs.Pushed],
    "run": service_outputs.Running,
    "save": list[image_outputs.SavedContext],
    "score": service_outputs.Answered,
    "service-deploy": service_outputs.Service,
    "service-get-access-token": service_outputs.AccessToken,
    "service-get-keys": service_outputs.Keys,
    "service-keys": service_outputs.Keys,
    "service-list": list[service_outputs.Service],
    "service-regen-key": service_outputs.Keys,
    "service-rollback": service_outputs.Service,
    "service-score": service_outputs.Answered,
    "service-show": service_outputs.Service,
    "service-start": service_outputs.Service,
    "service-traffic": service_outputs.Service,
    "service-update": service_outputs.Service,
    "store-gc": machine_outputs.Collected,
    "store-info": machine_outputs.StoreInfo,
    "store-verify": machine_outputs.StoreVerified,
    "target-list": list[named_outputs.TargetFile],
    "target-show": named_outputs.TargetFile,
    "test": list[service_outputs.Tested],
    "tree": list[lock_outputs.Tree],
    "verify": VerifyResult,
    "watch": Event,
    "why": list[lock_outputs.Why],
    "workspace-copy": workspace_outputs.WorkspaceCopied,
    "workspace-create": workspace_outputs.WorkspaceMade,
    "workspace-list": list[WorkspaceSummary],
    "workspace-show": WorkspaceSummary,
    "workspace-use": workspace_outputs.WorkspaceUsed,
}
#: All are of this version so far.
VERSION = 1
