"""What every image keeps to, each fact once: folders, port, paths, labels, times.

Sources: azureml-inference-server-http 1.5 and Azure ML's v1 `Model` (folders, paths); the OCI image spec, "Annotations"
(labels that start with `org.opencontainers.image`).
"""

from __future__ import annotations

APP_ROOT = "/var/azureml-app"
MODELS_FOLDER = "azureml-models"
ENVIRONMENT_PREFIX = "/opt/env"
#: Folder of the image for what packager itself puts beside the app.
OWN_FOLDER = "/opt/packager"
#: The server's configuration file. Without one of this name it takes any `config.json` of the app for it, and a model's
#: or a tokenizer's stops the start (azureml-inference-server-http 1.5, `server/config.py`).
SERVER_CONFIG = f"{OWN_FOLDER}/server.json"
#: gunicorn's configuration file; `programs/image` is behind it.
SERVER_SETTINGS = f"{OWN_FOLDER}/server.py"
#: What starts the inference server where requests need keys.
SERVER_START = f"{OWN_FOLDER}/start.py"

#: User and group that the server runs as.
USER = 1000

#: The record in a folder of files that `deploy` wrote, which is in no image.
DEPLOY_RECORD = ".packager-deploy.json"
#: The folder in the output of a batch while it runs, or has failures; such an output is in no image.
BATCH_JOURNAL = ".packager-batch"

#: Port of the server where the spec names none.
DEFAULT_PORT = 5001
HEALTH_PATH = "/"
SCORE_PATH = "/score"
SWAGGER_PATH = "/swagger.json"

#: Modification time of everything that we put into a context or an image: 1980-01-01T00:00:00Z, in seconds since the
#: epoch. A constant, so that no date changes a layer; not 0, which zip files cannot hold and some take for "unset".
MTIME = 315532800
FOLDER_MODE, FILE_MODE, PROGRAM_MODE = 0o755, 0o644, 0o755
#: Of files of models, which are hard links to the store.
MODEL_MODE = 0o444

TITLE_LABEL = "org.opencontainers.image.title"
VERSION_LABEL = "org.opencontainers.image.version"
DESCRIPTION_LABEL = "org.opencontainers.image.description"
BASE_NAME_LABEL = "org.opencontainers.image.base.name"
BASE_DIGEST_LABEL = "org.opencontainers.image.base.digest"
CREATED_LABEL = "org.opencontainers.image.created"
REVISION_LABEL = "org.opencontainers.image.revision"
#: Annotation of a layout's index: the tag of an image.
REF_NAME = "org.opencontainers.image.ref.name"

TARGET_LABEL = "packager.target"
LOCK_LABEL = "packager.lock"
#: Digest of all that the image is made from but its base, by which it is told whether it is still of these files.
INPUTS_LABEL = "packager.inputs"
#: The registered models of an image, as JSON: which they are, and which of them are to be mounted where.
MODELS_LABEL = "packager.models"
#: The registered environment that an image's lock stands on: `name:version@sha256:…`.
ENVIRONMENT_LABEL = "packager.environment"
#: Label of images whose requests need a key; its value is `key`.
AUTH_LABEL = "packager.auth"
#: Labels by which an image tells what the machine has to give to its containers.
GPUS_LABEL = "packager.gpus"
DEVICES_LABEL = "packager.devices"
#: Path of packager in an image to which it was added, for tasks of a batch.
CLI_LABEL = "packager.cli"
