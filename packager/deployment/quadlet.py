"""A workload as a unit of systemd that Podman runs (Quadlet)."""

from __future__ import annotations

from packager.deployment.quoting import memory
from packager.deployment.terms import PIDS, Terms, require_published, terms, unmet_by_one_machine
from packager.deployment.text import plain_number, render_text
from packager.deployment.workload import Manifest, Rendering, Volume, Wishes, Workload
from packager.programs.image.keys import KEYS_FILE

#: Seconds that fetching an image may take, and that ending a container takes beyond its own grace.
_FETCH, _AROUND = 900, 15

#: Where systemd keeps units of this kind: those of whoever may write there, else the user's.
_FOLDER = "${XDG_CONFIG_HOME:-$HOME/.config}/containers/systemd"

#: Of the file with the keys, in the container.
_KEYS = "/run/packager/keys"

#: Below the home of whoever runs it: what systemd calls a state folder is not the same in all its versions.
MODELS = ".local/share/packager/models"


def render(workload: Workload, wishes: Wishes) -> Rendering:
    """Return the unit for systemd and Podman. Pure.

    Args:
        workload: one image as a service.
        wishes: of them, `publish` counts.

    Raises:
        UsageError: only an engine of this machine has the image, which Podman does not see.
    """
    require_published(workload, "Podman has images of its own")
    term = terms(workload)
    images = {(each.name, each.version): _image_file(workload, each) for each in workload.volumes if each.image}
    text = render_text(
        "quadlet/service.container.j2",
        w=workload,
        t=term,
        publish=workload.port if wishes.publish is None else wishes.publish,
        keys_name=keys_name(workload.name),
        keys_target=_KEYS,
        keys_variable=KEYS_FILE,
        gpus=_gpus(term),
        limits=_limits(term),
        pids=PIDS,
        models=MODELS,
        image_files=images,
        fetch=_FETCH,
        around=_AROUND,
    )
    manifests = [Manifest(path=unit_file(workload.name), text=text)]
    for each in workload.volumes:
        if each.image:
            text = render_text("quadlet/model.image.j2", w=workload, volume=each)
            manifests.append(Manifest(path=images[each.name, each.version], text=text))
    files = " ".join(each.path for each in manifests)
    return Rendering(
        manifests=tuple(manifests),
        unmet=tuple(_unmet(workload, term)),
        secrets=(*_key_commands(workload), *_model_commands(workload)),
        apply=(
            f'install -D -m 644 -t "{_FOLDER}" {files} && systemctl --user daemon-reload'
            f" && systemctl --user restart {workload.name}.service"
        ),
    )


def unit_file(name: str) -> str:
    """Return the name of a service's file."""
    return f"{name}.container"


def _image_file(workload: Workload, volume: Volume) -> str:
    """Return the name of the unit that fetches the image of a model."""
    return f"{workload.name}-{volume.name}-{volume.version}.image"


def keys_name(name: str) -> str:
    """Return the name of the secret of Podman that has a service's keys."""
    return f"{name}-keys"


def _gpus(term: Terms) -> tuple[str, ...]:
    if not term.gpus.isdecimal():
        return (term.gpus,) if term.gpus else ()
    return tuple(map(str, range(int(term.gpus))))


def _limits(term: Terms) -> tuple[str, ...]:
    words = []
    if term.memory_limit is not None:
        words += [f"--memory={memory(term.memory_limit)}", f"--memory-swap={memory(term.memory_limit)}"]
    if term.memory is not None:
        words.append(f"--memory-reservation={memory(term.memory)}")
    if term.cpu_limit is not None:
        words.append(f"--cpus={plain_number(term.cpu_limit)}")
    return tuple(words)


def _key_commands(workload: Workload) -> tuple[str, ...]:
    if not workload.needs_key:
        return ()
    name = keys_name(workload.name)
    return (f"(openssl rand -hex 32; openssl rand -hex 32) | podman secret create {name} -",)


def _model_commands(workload: Workload) -> tuple[str, ...]:
    return tuple(
        f'packager model download {each.name}:{each.version} -t "$HOME/{MODELS}/{each.name}/{each.version}"'
        for each in workload.volumes
        if not each.image
    )


def _unmet(workload: Workload, term: Terms) -> list[str]:
    unmet = unmet_by_one_machine(workload)
    if term.cpu is not None:
        unmet.append("processors are limited, and none are reserved: Podman keeps none for a container")
    if term.gpus.isdecimal() and int(term.gpus):
        first = "first GPU" if int(term.gpus) == 1 else f"first {term.gpus} GPUs"
        unmet.append(f"it gets the {first} of the machine: Podman does not choose what is free")
    if workload.devices:
        unmet.append(f"which device is like {' and '.join(workload.devices)} is to be written into the unit")
    return unmet
