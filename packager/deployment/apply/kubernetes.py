"""kubectl puts the files of a cluster into force."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote
from typing import Any

from packager.deployment.apply.client import Client, Said, Say, version_of
from packager.deployment.apply.ill import ill
from packager.deployment.apply.sample import first_key, send_sample
from packager.deployment.kubernetes.names import CANARY
from packager.deployment.kubernetes.render import NAMESPACE
from packager.deployment.workload import Release
from packager.errors import EngineError, PackagerError, ServiceError, UsageError
from packager.programs.image.keys import NAMES
from packager.serving.service import LOG_READ, State, why_it_ended, why_it_hangs

_INSTALL = "install kubectl (kubernetes.io/docs/tasks/tools)"
#: The first with server-side apply that is no beta.
_OLDEST = (1, 22)

_FORWARDING = re.compile(r"Forwarding from (?P<address>127\.0\.0\.1:\d+)")
_CONFLICT = re.compile(r"Apply failed with \d+ conflict", re.IGNORECASE)
_FORBIDDEN = re.compile(r"forbidden", re.IGNORECASE)
_NOT_FOUND = re.compile(r"not ?found", re.IGNORECASE)

#: Seconds for a question.
_ASKED = 30.0


class Kubernetes:
    """kubectl, as `packager.deployment.workload.Operator`."""

    def __init__(self) -> None:
        self._kubectl = Client("kubectl", install=_INSTALL)

    def apply(self, release: Release, say: Say) -> None:
        """See `Operator`: what is missing is told, and what is about to change is named, before anything is."""
        self._require_version()
        context, server = self._cluster()
        namespace = _namespace(release)
        self._require_namespace(namespace, context)
        for command in release.rendering.secrets:
            self._require_secret(command, namespace)
        files = ", ".join(each for each in release.files if each != "kustomization.yaml")
        say(f"kubectl's context {context}, cluster {server}, namespace {namespace}: {files}")
        done = self._kubectl.run("apply", "--server-side", "-k", str(release.folder), say=say)
        if not done.well:
            raise self._refused(done, release)

    def wait(self, release: Release, timeout: float, say: Say) -> str:
        """See `Operator`."""
        namespace, name = _namespace(release), release.workload.name
        for what in _waited_for(release):
            words = (
                ("rollout", "status", what)
                if what.startswith("deployment/")
                else ("wait", "--for=condition=Ready", what)
            )
            # None at all would be for ever.
            done = self._kubectl.run(*words, "--namespace", namespace, f"--timeout={max(1, round(timeout))}s", say=say)
            if not done.well:
                raise self._ill(release, what, timeout, done)
        key = self._key(release) if release.workload.needs_key else None
        if release.wishes.flavor != "kserve":
            with self._forwarded(namespace, name) as url:
                send_sample(release.workload, url, key, say)
        return _url(release)

    def rollback(self, release: Release, say: Say) -> None:
        """See `Operator`: the files name the image of before, so cluster and files agree.

        `kubectl rollout undo` would leave the files as they are, and the next apply would bring back what failed.
        """
        self.apply(release, say)
        self.wait(release, release.workload.ready_in, say)

    def _require_version(self) -> None:
        said = self._kubectl.ask("version", "--client", "--output", "json", timeout=_ASKED)
        try:
            version = str(json.loads(said.out)["clientVersion"]["gitVersion"])
        except (ValueError, LookupError, TypeError):
            version = ""
        if version_of(version) < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            raise EngineError(f"kubectl {version or '(of no known version)'} is older than {oldest}", remedy=_INSTALL)

    def _cluster(self) -> tuple[str, str]:
        """Return the name of the context, and the version of its cluster."""
        said = self._kubectl.ask("config", "current-context", timeout=_ASKED)
        if not said.well or not said.out.strip():
            raise EngineError(
                "kubectl has no cluster to speak to: no context is chosen",
                remedy="kubectl config get-contexts, and kubectl config use-context NAME; or KUBECONFIG names a file",
            )
        context = said.out.strip()
        said = self._kubectl.ask("version", "--output", "json", "--request-timeout=10s", timeout=_ASKED)
        if not said.well:
            raise self._kubectl.refused(said, f"reach the cluster of context {context}")
        try:
            return context, str(json.loads(said.out)["serverVersion"]["gitVersion"])
        except (ValueError, LookupError, TypeError):
            raise EngineError(
                f"the cluster of context {context} does not say its version",
                remedy="kubectl version shows what it says",
            ) from None

    def _require_namespace(self, namespace: str, context: str) -> None:
        said = self._kubectl.ask("get", "namespace", namespace, "--output", "name", timeout=_ASKED)
        # Who may not look at namespaces may well work in one.
        if said.well or _FORBIDDEN.search(said.error):
            return
        if _NOT_FOUND.search(said.error):
            raise UsageError(
                f"the cluster of context {context} has no namespace {namespace}",
                remedy=f"kubectl create namespace {namespace}; or --namespace names another",
            )
        raise self._kubectl.refused(said, f"look for the namespace {namespace}")

    def _require_secret(self, command: str, namespace: str) -> None:
        """Refuse to go on where a Secret is missing that a command of the rendering makes."""
        found = re.match(r"kubectl create secret \S+ (\S+)", command)
        if found is None:
            return
        said = self._kubectl.ask(
            "get", "secret", found[1], "--namespace", namespace, "--output", "name", timeout=_ASKED
        )
        if not said.well and _NOT_FOUND.search(said.error):
            raise UsageError(f"namespace {namespace} has no Secret {found[1]}", remedy=command)

    def _refused(self, said: Said, release: Release) -> PackagerError:
        if _CONFLICT.search(said.out):
            return self._kubectl.refused(
                said,
                "apply the files, for somebody else changed the same fields",
                "take them over into the files; or `kubectl apply --server-side --force-conflicts -k "
                f"{quote(str(release.folder))}`, which takes them back",
            )
        if _FORBIDDEN.search(said.out):
            return self._kubectl.refused(said, "apply the files", "ask for the rights to, in this namespace")
        return self._kubectl.refused(said, "apply the files")

    def _key(self, release: Release) -> str:
        name, namespace = f"{release.workload.name}-keys", _namespace(release)
        # Base64, which kubectl's templates decode.
        template = "{{index .data " + json.dumps(NAMES[0]) + " | base64decode}}"
        said = self._kubectl.ask(
            *("get", "secret", name, "--namespace", namespace, "--output", f"go-template={template}"), timeout=_ASKED
        )
        return first_key(said.out, f"the Secret {name}", "see `secrets` of the deployment's output for how it is made")

    @contextmanager
    def _forwarded(self, namespace: str, name: str) -> Iterator[str]:
        """Give a URL of this machine by which the Service is reached for as long as the block takes."""
        words = ("port-forward", "--namespace", namespace, "--address", "127.0.0.1", f"service/{name}", ":80")
        with self._kubectl.running(*words) as process:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                if (found := _FORWARDING.search(line)) is not None:
                    yield f"http://{found['address']}/"
                    return
                lines.append(line)
            raise self._kubectl.refused(Said(code=1, out="".join(lines)), "forward a port to send the sample request")

    def _ill(self, release: Release, what: str, timeout: float, said: Said) -> PackagerError:
        """Return the error for pods that do not become ready, with the reason of one of them and its log."""
        namespace = _namespace(release)
        name = what.partition("/")[2]
        kserve = release.wishes.flavor == "kserve"
        label = f"{'serving.kserve.io/inferenceservice' if kserve else 'app.kubernetes.io/name'}={name}"
        pods = self._kubectl.ask(
            *("get", "pods", "--namespace", namespace, "--selector", label, "--output", "json"), timeout=_ASKED
        )
        reason, pod, before = reason_of(json.loads(pods.out) if pods.well else {})
        words = ["logs", "--namespace", namespace, pod, "--tail", str(LOG_READ), *(["--previous"] if before else [])]
        log = self._kubectl.ask(*words, timeout=_ASKED).out if pod else ""
        if not reason:
            return ill(why_it_hangs(log, timeout), log or said.out)
        return (
            ill(reason, log) if log else ServiceError(f"{what} is not healthy: {reason}", remedy="see the reason above")
        )


def reason_of(pods: Any) -> tuple[str, str, bool]:
    """Return why pods are not ready, the name of one, and whether its container of before tells more. Pure.

    Args:
        pods: the document of `kubectl get pods --output json`.
    """
    seen = ("", "", False)
    # The newest is of what was applied last; those of before are well.
    for pod in sorted(
        pods.get("items") or (), key=lambda each: str(each["metadata"].get("creationTimestamp")), reverse=True
    ):
        name, status = str(pod["metadata"].get("name", "")), pod.get("status") or {}
        for each in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            if each.get("ready"):
                continue
            ended = (each.get("lastState") or {}).get("terminated") or (each.get("state") or {}).get("terminated")
            if ended:
                state = State(
                    running=False,
                    exit_code=int(ended.get("exitCode") or 0),
                    out_of_memory=ended.get("reason") == "OOMKilled",
                )
                return why_it_ended(state), name, "terminated" in (each.get("lastState") or {})
            waiting = (each.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
                return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": "), name, False
            seen = seen if seen[1] else ("", name, False)
        for condition in status.get("conditions") or ():
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                return f"no node takes it: {condition.get('message', condition.get('reason', ''))}", "", False
    return seen


def _namespace(release: Release) -> str:
    return release.wishes.namespace or release.workload.service.namespace or NAMESPACE


def _waited_for(release: Release) -> tuple[str, ...]:
    name = release.workload.name
    if release.wishes.flavor == "kserve":
        return (f"inferenceservice/{name}",)
    names = (name, f"{name}{CANARY}") if release.wishes.canary else (name,)
    return tuple(f"deployment/{each}" for each in names)


def _url(release: Release) -> str:
    """Return how it is reached: from outside where there is a route, else within the cluster."""
    tls = release.workload.service.tls
    host = release.wishes.host or (tls.cname if tls is not None and tls.cname else "")
    if release.wishes.route and host:
        return f"{'https' if tls is not None else 'http'}://{host}/"
    return f"http://{release.workload.name}.{_namespace(release)}.svc/"
