"""A workload → the files of Kubernetes. Pure."""

from __future__ import annotations

import msgspec

from packager.contract import ENVIRONMENT_PREFIX
from packager.deployment.kubernetes import names
from packager.deployment.kubernetes.values import Pod, Scaling, pinned, pod_of, scaling_of
from packager.deployment.text import render_text, shell_word
from packager.deployment.workload import Manifest, Rendering, Wishes, Workload
from packager.errors import UsageError
from packager.programs.image.keys import DEFAULT_PATH as KEYS_MOUNT
from packager.resources import program
from packager.serving.traffic import VERSION_HEADER

#: How the files are put into force, in their folder.
APPLY = "kubectl apply --server-side -k ."
#: Where nobody names a namespace.
NAMESPACE = "default"


def render(workload: Workload, wishes: Wishes) -> Rendering:
    """Return the files of a Deployment with its Service and all that belongs to it, or of an InferenceService.

    Raises:
        UsageError: it cannot be run so: a name, label or quantity is beyond Kubernetes' limits, the image is in no
            registry or for a platform that no node has, or something contradicts something else.
    """
    _require_image(workload)
    names.service_name(workload.name, canary=bool(wishes.canary))
    names.label_value(workload.version, "version")
    if wishes.pull_secret:
        names.object_name(wishes.pull_secret, "--pull-secret")
    namespace = names.namespace(wishes.namespace or workload.service.namespace or NAMESPACE)
    pod, scaling = pod_of(workload, wishes, namespace=namespace), scaling_of(workload.service)
    if wishes.flavor == "kserve":
        files = _kserve(workload, wishes, pod, scaling)
    else:
        files = _deployment(workload, wishes, pod, scaling)
    if pod.fetches:
        text = program("pod/fetch_model.py").read_text("utf-8").rstrip("\n")
        files["model-fetcher.yaml"] = render_text("kubernetes/model-fetcher.yaml.j2", pod=pod, program=text)
    files["kustomization.yaml"] = render_text("kubernetes/kustomization.yaml.j2", namespace=namespace, paths=[*files])
    return Rendering(
        manifests=tuple(Manifest(path=path, text=text) for path, text in files.items()),
        unmet=_unmet(workload, wishes),
        secrets=_secrets(workload, wishes, pod),
        apply=APPLY,
    )


def _require_image(workload: Workload) -> None:
    if workload.local:
        raise UsageError(
            "only this machine's engine has the image, and no cluster can pull it from there",
            remedy="push it first: packager push; it is then found by its tag",
        )
    if "@sha256:" not in workload.image:
        raise UsageError(
            f"{workload.image} has no digest, and a tag may be another image tomorrow",
            remedy="push it first: packager push; or name it as it is at its registry: --image NAME@sha256:…",
        )
    if workload.user == 0:
        raise UsageError(
            f"{workload.image} runs as root, which the pod forbids", remedy="use an image that packager built"
        )


def _deployment(workload: Workload, wishes: Wishes, pod: Pod, scaling: Scaling) -> dict[str, str]:
    """Return path → text of the files of a Deployment, in the order in which they are applied."""
    canary = _canary(wishes, pod)
    files = {
        "deployment.yaml": _pods(pod, "deployment.yaml"),
        "service.yaml": render_text("kubernetes/service.yaml.j2", pod=pod),
        "networkpolicy.yaml": render_text("kubernetes/networkpolicy.yaml.j2", pod=pod),
    }
    if scaling.varies:
        name = "horizontalpodautoscaler.yaml"
        files[name] = render_text(f"kubernetes/{name}.j2", pod=pod, scaling=scaling)
    if scaling.most > 1:
        files["poddisruptionbudget.yaml"] = render_text("kubernetes/poddisruptionbudget.yaml.j2", pod=pod)
    if canary is not None:
        files["canary-deployment.yaml"] = _pods(canary, "deployment.yaml")
        files["canary-service.yaml"] = render_text("kubernetes/service.yaml.j2", pod=canary)
    if wishes.route == "ingress":
        files["ingress.yaml"] = _ingress(workload, wishes, pod)
    elif wishes.route == "gateway":
        files["httproute.yaml"] = _http_route(workload, wishes, pod, canary)
    elif wishes.gateway or wishes.ingress_class:
        option = "--gateway" if wishes.gateway else "--ingress-class"
        raise UsageError(f"{option} says by which way it is reached, and none is asked for", remedy="add --route")
    return files


def _pods(pod: Pod, template: str, **more: object) -> str:
    container = "kserve-container" if template.startswith("inference") else "server"
    about = {"container": container, "keys_mount": KEYS_MOUNT, "prefix": ENVIRONMENT_PREFIX}
    spec = render_text("kubernetes/pod.j2", pod=pod, **about).rstrip("\n")
    return render_text(f"kubernetes/{template}.j2", pod=pod, pod_spec=spec, keys_command=_keys_command(pod), **more)


def _canary(wishes: Wishes, pod: Pod) -> Pod | None:
    """Return the pods of the other image; none where there is none.

    Raises:
        UsageError: it has no digest, is the same image, or nothing could share the requests.
    """
    if not wishes.canary:
        return None
    if "@sha256:" not in wishes.canary:
        raise UsageError(f"{wishes.canary} has no digest", remedy="push it first: packager push")
    if wishes.route != "gateway":
        raise UsageError(
            "nothing but a route of a Gateway shares requests by weight between two images",
            remedy="--route gateway --gateway NAMESPACE/NAME",
        )
    if not 1 <= wishes.canary_percent <= 99:
        raise UsageError(f"{wishes.canary_percent} % leaves one of the two without requests", remedy="1 to 99")
    image = pinned(wishes.canary)
    if image == pod.image:
        raise UsageError("--canary is the image that it is to be tried beside", remedy="name another")
    return msgspec.structs.replace(
        pod, name=f"{pod.name}{names.CANARY}", image=image, replicas=1 if pod.replicas is None else pod.replicas
    )


def _host(workload: Workload, wishes: Wishes) -> str:
    tls = workload.service.tls
    host = wishes.host or (tls.cname if tls is not None and tls.cname else "")
    return names.host_name(host) if host else ""


def _ingress(workload: Workload, wishes: Wishes, pod: Pod) -> str:
    host = _host(workload, wishes)
    if not host:
        raise UsageError(
            "an Ingress needs the name under which the service is reached from outside",
            remedy="--host churn.example.com, or `service: {tls: {cname: …}}` in the spec",
        )
    if wishes.gateway:
        raise UsageError("--gateway is of --route gateway, and --route ingress is asked for", remedy="choose one")
    if wishes.ingress_class:
        names.object_name(wishes.ingress_class, "--ingress-class")
    return render_text(
        "kubernetes/ingress.yaml.j2",
        pod=pod,
        host=host,
        ingress_class=wishes.ingress_class,
        tls_secret=_tls_secret(workload, wishes),
        tls_command=_tls_command(workload, wishes, pod),
        longest=workload.grace,
    )


def _http_route(workload: Workload, wishes: Wishes, pod: Pod, canary: Pod | None) -> str:
    if not wishes.gateway:
        raise UsageError(
            "a route of a Gateway needs the Gateway that it belongs to",
            remedy="--gateway NAMESPACE/NAME (`kubectl get gateways -A` lists them)",
        )
    return render_text(
        "kubernetes/httproute.yaml.j2",
        pod=pod,
        host=_host(workload, wishes),
        gateway=names.gateway(wishes.gateway),
        tls=workload.service.tls is not None,
        canary=canary,
        canary_percent=wishes.canary_percent,
        version_header=VERSION_HEADER,
        longest=workload.grace,
    )


def _kserve(workload: Workload, wishes: Wishes, pod: Pod, scaling: Scaling) -> dict[str, str]:
    asked = {"--route": wishes.route, "--canary": wishes.canary, "--gateway": wishes.gateway}
    if given := [option for option, value in asked.items() if value]:
        raise UsageError(
            f"{given[0]} is of a Deployment: KServe makes routes by itself, and shares requests between revisions",
            remedy=f"leave {given[0]} or --flavor kserve out",
        )
    text = _pods(pod, "inferenceservice.yaml", scaling=scaling, longest=workload.grace)
    return {"inferenceservice.yaml": text}


def _tls_secret(workload: Workload, wishes: Wishes) -> str:
    asked = workload.service.tls is not None and wishes.route == "ingress"
    return f"{workload.name}-tls" if asked else ""


def _keys_command(pod: Pod) -> str:
    """Return the command that makes the Secret with two new keys; none of them is in a file or shown."""
    key = '"$(openssl rand -hex 32)"'
    return (
        f"kubectl create secret generic {pod.part_of}-keys --namespace {pod.namespace} "
        f"--from-literal=primary={key} --from-literal=secondary={key}"
    )


def _tls_command(workload: Workload, wishes: Wishes, pod: Pod) -> str:
    tls = workload.service.tls
    cert, key = (tls.cert, tls.key) if tls is not None and tls.cert and tls.key else ("FILE.pem", "FILE.key")
    return (
        f"kubectl create secret tls {_tls_secret(workload, wishes)} --namespace {pod.namespace} "
        f"--cert={shell_word(cert)} --key={shell_word(key)}"
    )


def _secrets(workload: Workload, wishes: Wishes, pod: Pod) -> tuple[str, ...]:
    commands = [_keys_command(pod)] if workload.needs_key else []
    if _tls_secret(workload, wishes):
        commands.append(_tls_command(workload, wishes, pod))
    if wishes.pull_secret:
        commands.append(
            f"kubectl create secret docker-registry {wishes.pull_secret} --namespace {pod.namespace} "
            f"--docker-server={workload.image.partition('/')[0]} --docker-username=NAME --docker-password=PASSWORD"
        )
    return tuple(commands)


def _unmet(workload: Workload, wishes: Wishes) -> tuple[str, ...]:
    """Return what `service:` asks for and Kubernetes has not, or nobody said how to have."""
    service, unmet = workload.service, []
    if service.auth == "token":
        unmet.append("keys in place of tokens (`auth`)")
    if service.tls is not None and not wishes.route and wishes.flavor != "kserve":
        unmet.append("no TLS: nothing leads in from outside (`--route ingress` or `--route gateway`)")
    if service.tls is not None and wishes.route == "gateway":
        unmet.append("TLS is the Gateway's listener's, which has the certificate")
    if service.dns_name and not (wishes.route and _host(workload, wishes)):
        unmet.append(f"no public name: of it only the first label is known ({service.dns_name}), `--host` says all")
    if service.most_memory is None:
        unmet.append(
            "no limit of memory, as `service: {memory: …}` names none: `packager model profile` finds what it needs"
        )
    if service.probes.success_threshold not in (None, 1):
        unmet.append("one good answer is enough for liveness and start; readiness has its `success_threshold`")
    return tuple(unmet)
