"""What `--help` shows below a verb's options: examples to copy, and the exit codes that the verb can end with.

Beside the verbs and not in them, so that the words are read, and mended, in one place.
"""

from __future__ import annotations

import click

#: What an exit code means, in the words of `--help`; `packager/errors.py` has them in full.
MEANINGS = {
    0: "done",
    1: "failed",
    2: "called wrongly, or the spec is not valid",
    3: "the lock is missing, stale or has no solution",
    4: "a template cannot be rendered",
    5: "a finding at or above --fail-on",
    6: "a file, model or digest is missing or another",
    7: "engine or registry refused",
    8: "the service did not start, or answered wrongly",
    75: "network or server, try again",
    130: "interrupted",
}

#: What whoever begins types, one after the other.
FIRST_STEPS = ("packager init", "packager lock", "packager build", "packager run")

#: What our own words mean, for whoever reads `packager --help` first.
WORDS = {
    "spec": "packager.yaml: what you declare, model, entry script, environment and targets",
    "entry script": "your score.py: init() loads the model once, run(data) answers a request",
    "environment": "the pip and conda packages that the image gets, from a file of yours or a curated one",
    "curated": "comes with packager, with its lock: sklearn, pytorch, onnx …",
    "target": "the kind of machine that an image is for: cpu, gpu, fpga, arm-edge, or one of your own",
    "base": "the image that yours is built on, pinned by its digest",
    "lock": "packager.lock and locks/: every package with version and sha256; commit it",
    "context": "the folder that `docker build` gets: Dockerfile and layers/; `save` writes one",
    "engine": "Docker Engine or what speaks its API; most verbs do without one",
    "reference": "name of an image at a registry: registry.example.com/team/model:1",
    "store": "models and layers that are kept on this machine, once each",
    "workspace": "where models and environments are registered by name and version: a folder, or a registry",
}

_BUILDS = (0, 2, 3, 4, 6, 7, 75, 130)
_SERVES = (0, 2, 6, 7, 8, 75, 130)
_BUILDS_AND_SERVES = (0, 2, 3, 4, 6, 7, 8, 75, 130)
_SERVES_OR_LOCKS = (0, 2, 3, 6, 7, 8, 75, 130)

#: Verb, and the verb below it → its examples (a line of a shell each), and its exit codes.
VERB_HELP: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "init": (("packager init", "packager init models/churn --force"), (0, 2)),
    "import": (
        (
            "packager import inferenceconfig.json deploymentconfig.json",
            "packager import environments/sklearn --output packager.yaml",
            "packager import . --force",
        ),
        (0, 2, 6),
    ),
    "lock": (
        ("packager lock", "packager lock --check", "packager lock --upgrade scikit-learn"),
        (0, 2, 3, 6, 7, 8, 75, 130),
    ),
    "environment": (("packager environment list", "packager environment show sklearn"), (0, 2, 3, 6, 7, 75)),
    "environment delete": (("packager environment delete sklearn-env:1",), (0, 2, 6, 7, 75)),
    "environment download": (("packager environment download sklearn -t here",), (0, 2, 6, 7, 75)),
    "environment register": (
        ("packager environment register -d env -n sklearn-env", "packager environment register -f conda.yml -n mine"),
        (0, 2, 6, 7, 75, 130),
    ),
    "environment verify": (("packager environment verify sklearn-env",), (0, 2, 6, 7, 75, 130)),
    "environment create": (("packager environment create ./venv",), (0, 2, 3, 6, 75, 130)),
    "environment diff": (("packager environment diff old/packager.lock packager.lock --exit-code",), (0, 1, 2, 3)),
    "environment list": (("packager environment list --tag team=sales",), (0, 2, 6, 7, 75)),
    "environment run": (("packager environment run -- python train.py",), (0, 2, 3, 6, 75, 130)),
    "environment show": (("packager environment show sklearn",), (0, 2, 6, 7, 75)),
    "image": (("packager image list",), (0, 2, 6, 7, 75)),
    "image list": (("packager image list --model sklearn_mnist:3",), (0, 2, 6, 7, 75)),
    "model": (
        ("packager model register -n churn -p model.pkl", "packager model list", "packager model download churn"),
        (0, 1, 2, 3, 4, 6, 7, 8, 75, 130),
    ),
    "model delete": (("packager model delete churn:1",), (0, 2, 6, 7, 75)),
    "model deploy": (
        (
            "packager model deploy -n churn -m churn:1 --ic inferenceconfig.json --dc deploymentconfig.json",
            "packager model deploy -n churn -m churn:2 --ic inferenceconfig.json --overwrite",
            "packager model deploy -n mnist -m mnist:1 --show-spec",
        ),
        (0, 2, 3, 4, 6, 7, 8, 75, 130),
    ),
    "model diff": (("packager model diff churn:1 churn:2 --exit-code",), (0, 1, 2, 6, 7, 75)),
    "model download": (("packager model download churn:3 -t here",), (0, 2, 6, 7, 75, 130)),
    "model list": (
        ("packager model list --tag area=mnist", "packager model list -n churn --latest --format json"),
        (0, 2, 6, 7, 75),
    ),
    "model package": (
        (
            "packager model package -m churn:1 --ic inferenceconfig.json --in churn --il v1",
            "packager model package -m churn:1 --ic inferenceconfig.json --output-path imagefiles",
        ),
        _BUILDS,
    ),
    "model profile": (
        (
            "packager model profile registry.example.com/ml/churn:1 --data request.json",
            "packager model profile --idi requests.jsonl --latency 50 --plot profile.svg",
            "packager model profile -n churn -m churn:1 --ic inferenceconfig.json --data request.json",
        ),
        _BUILDS_AND_SERVES,
    ),
    "model pull": (("packager model pull registry.example.com/ml/churn:3 -n churn",), (0, 2, 6, 7, 75, 130)),
    "model push": (
        (
            "packager model push churn:3 registry.example.com/ml/churn:3",
            "packager model push churn:3 registry.example.com/ml/churn:3-image --as image",
        ),
        (0, 2, 6, 7, 75, 130),
    ),
    "model register": (
        (
            "packager model register -n sklearn_mnist -p outputs/model.pkl --tag area=mnist",
            "packager model register -n bert -p hf://org/name@main",
            "packager model register -n mnist -p https://example.com/mnist.onnx --cc 1 --mi 0.5",
        ),
        (0, 2, 6, 7, 75, 130),
    ),
    "model show": (("packager model show churn", "packager model show -n churn -v 3"), (0, 2, 6, 7, 75)),
    "model update": (("packager model update churn:3 --add-tag stage=live -d approved",), (0, 2, 6, 7, 75)),
    "model verify": (("packager model verify churn",), (0, 2, 6, 7, 75, 130)),
    "target": (("packager target list", "packager target show gpu"), (0, 2)),
    "target list": (("packager target list",), (0, 2)),
    "target new": (("packager target new jetson --from arm-edge",), (0, 2)),
    "target show": (("packager target show cpu",), (0, 2)),
    "export": (("packager export --format requirements -o requirements.txt",), (0, 2, 3, 75)),
    "check": (("packager check", "packager check --fail-on warning --format json"), (0, 2, 5)),
    "plan": (("packager plan", "packager plan --target gpu --format json"), (0, 2, 3, 4, 6, 7, 75)),
    "render": (("packager render", "packager render --dialect plain > Dockerfile"), (0, 2, 3, 4, 6, 7, 75)),
    "save": (
        (
            "packager save -o context",
            "packager save -o context --for kubernetes",
            "packager save --archive context.tar.gz",
        ),
        (0, 2, 3, 4, 6, 7, 75),
    ),
    "verify": (("packager verify context",), (0, 2, 6)),
    "build": (
        (
            "packager build",
            "packager build -t registry.example.com/team/model:1 --push",
            "packager build --builder oci -o type=oci,dest=image",
        ),
        (0, 2, 3, 4, 5, 6, 7, 8, 75, 130),
    ),
    "batch": (
        (
            "packager batch --input images --output labels",
            "packager batch --input requests.jsonl --output answers --processes 4",
            "packager batch --input 'data/*.csv' --output scores --entry-script batch.py --mini-batch-size 1MB",
            "packager batch --input images --output labels --shard auto/8",
            "packager batch --output labels --merge",
        ),
        (0, 2, 3, 6, 7, 8, 75, 130),
    ),
    "bake": (("packager bake */packager.yaml -o bake", "docker buildx bake -f bake/docker-bake.json"), _BUILDS),
    "push": (("packager push", "packager push registry.example.com/team/model:1 --build"), (0, 2, 6, 7, 8, 75, 130)),
    "why": (
        ("packager why numpy", "packager why sklearn --target gpu"),
        (0, 2, 3, 75),
    ),
    "tree": (("packager tree", "packager tree --format json"), (0, 2, 3, 75)),
    "deploy": (
        (
            "packager deploy --to kubernetes --namespace models",
            "packager deploy --image registry.example.com/team/churn:2 --diff",
            "packager deploy --to compose --apply --wait",
            "packager deploy --rollback --apply",
            "packager deploy --batch --shards 8 --share data:/share -- --input /share/in --output /share/out",
        ),
        (0, 1, 2, 6, 7, 8, 75, 130),
    ),
    "diff": (
        ("packager diff churn:1 churn:2", "packager diff HEAD~1:packager.lock packager.lock"),
        (0, 1, 2, 3, 6, 7, 75),
    ),
    "report": (("packager report -o report.html", "packager report --test -o report.html"), (0, 2, 3, 6, 7, 75, 130)),
    "completion": (("packager completion bash", "packager completion fish"), (0, 2)),
    "config": (("packager config", "packager config --format json"), (0, 2)),
    "pull": (("packager pull registry.example.com/team/model:1 -o model.tar",), (0, 2, 6, 7, 75, 130)),
    "inspect": (("packager inspect registry.example.com/team/model:1",), (0, 2, 6, 7, 75)),
    "run": (("packager run", "packager run --build -p 7711:5001", "packager run --no-docker"), _SERVES_OR_LOCKS),
    "test": (("packager test", "packager test --no-docker"), _SERVES_OR_LOCKS),
    "service": (("packager service deploy churn", "packager service list"), _SERVES_OR_LOCKS),
    "service delete": (("packager service delete churn", "packager service delete churn --version b"), (0, 2, 7, 8)),
    "service deploy": (
        (
            "packager service deploy churn registry.example.com/team/churn:1",
            "packager service deploy churn registry.example.com/team/churn:2 --version b --traffic 10",
        ),
        _SERVES_OR_LOCKS,
    ),
    "service get-access-token": (("packager service get-access-token -n churn",), _SERVES),
    "service get-keys": (("packager service get-keys -n churn",), _SERVES),
    "service get-logs": (("packager service get-logs -n churn --num-lines 100",), (0, 2, 7, 8)),
    "service keys": (("packager service keys churn",), _SERVES),
    "service list": (("packager service list",), (0, 2, 7)),
    "service logs": (("packager service logs churn",), (0, 2, 7, 8)),
    "service regen-key": (("packager service regen-key -n churn -k Primary",), _SERVES),
    "service rollback": (("packager service rollback churn",), _SERVES_OR_LOCKS),
    "service run": (("packager service run -n churn -d request.json",), (0, 2, 7, 8, 75)),
    "service score": (("packager service score churn --data request.json",), (0, 2, 7, 8, 75)),
    "service show": (("packager service show churn --format json",), (0, 2, 7, 8)),
    "service start": (("packager service start churn",), _SERVES),
    "service stop": (("packager service stop churn",), (0, 2, 7, 8)),
    "service traffic": (
        ("packager service traffic churn default=90 b=10", "packager service traffic churn"),
        (0, 2, 7, 8, 75),
    ),
    "service update": (
        (
            "packager service update churn registry.example.com/team/churn:2",
            "packager service update churn -m churn:2 --ic inferenceconfig.json",
        ),
        (0, 2, 3, 4, 6, 7, 8, 75, 130),
    ),
    "ci": (
        ("packager ci github -o .github/workflows/package.yml", "packager ci gitlab > .gitlab-ci.yml"),
        (0, 2, 3, 6, 7, 75),
    ),
    "watch": (
        (
            "packager watch --model sklearn_mnist --tag stage=production --service mnist",
            "packager watch --push --deploy deploy/kubernetes",
            "packager watch --push --exec 'notify \"$PACKAGER_IMAGE\"'",
            "packager watch --service mnist --once --format json",
        ),
        (0, 1, 2, 3, 4, 5, 6, 7, 8, 75, 130),
    ),
    "score": (("packager score --url http://127.0.0.1:5001/score --data request.json",), (0, 2, 8, 75)),
    "store": (("packager store info", "packager store gc --dry-run"), (0, 2, 6)),
    "store gc": (("packager store gc --dry-run", "packager store gc --max-size 20g"), (0, 2, 6)),
    "store info": (("packager store info",), (0, 2, 6)),
    "store verify": (("packager store verify",), (0, 2, 6)),
    "workspace": (("packager workspace list", "packager workspace use team"), (0, 2, 6, 7, 75, 130)),
    "workspace copy": (("packager workspace copy default oci://registry.example.com/ml",), (0, 2, 6, 7, 75, 130)),
    "workspace create": (("packager workspace create team",), (0, 2, 6, 7, 75)),
    "workspace list": (("packager workspace list",), (0, 2, 6, 7, 75)),
    "workspace show": (("packager workspace show",), (0, 2, 6, 7, 75)),
    "workspace use": (("packager workspace use oci://registry.example.com/ml",), (0, 2, 6, 7, 75)),
    "schema": (("packager schema > packager.schema.json",), (0, 2)),
    "doctor": (("packager doctor",), (0, 1, 2)),
}


def epilog(verb: str) -> str:
    """Return what stands below the options of a verb, as click takes it; empty for a verb that has no entry.

    Args:
        verb: `push`, or with the verb below it, `store gc`.
    """
    if verb not in VERB_HELP:
        return ""
    lines = "\n".join(f"  {each}" for each in VERB_HELP[verb][0])
    return f"\b\nExamples:\n{lines}\n\nExit codes: {exit_codes(verb)}."


def exit_codes(verb: str) -> str:
    """Return a verb's exit codes with what they mean: `0 done; 2 called wrongly …`."""
    return "; ".join(f"{code} {MEANINGS[code]}" for code in VERB_HELP[verb][1])


def explain(command: click.Command, verb: str) -> click.Command:
    """Give a command, and those below it, their examples and exit codes; return it."""
    command.epilog = epilog(verb)
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            explain(below, f"{verb} {name}")
    return command
