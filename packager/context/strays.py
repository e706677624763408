"""What lies about in people's folders and belongs in no image: caches, images that were written there, secrets.

Each is known by what it is, and by its name only where a program fixed that name.
"""

from __future__ import annotations

import ast
import io
import os
import posixpath
import re
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence

from packager.context.starts import start_of
from packager.errors import ContextError
from packager.storage.memory import cache_root, data_root, state_root
from packager.storage.reading import opened

#: What programs call their caches by; a build server often keeps them inside the project.
CACHE_VARIABLES = (
    *("XDG_CACHE_HOME", "UV_CACHE_DIR", "PIP_CACHE_DIR", "CONDA_PKGS_DIRS", "MAMBA_ROOT_PREFIX", "RATTLER_CACHE_DIR"),
    *("POETRY_CACHE_DIR", "PDM_CACHE_DIR", "PRE_COMMIT_HOME", "npm_config_cache", "NPM_CONFIG_CACHE"),
)
# https://bford.info/cachedir/: the tag of a cache folder.
_CACHE_TAG, _CACHE_SIGNATURE = "CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55"

#: Folders that programs keep credentials in.
_SECRET_FOLDERS = frozenset({".ssh", ".aws", ".azure", ".kube", ".gnupg", ".gcloud", ".databricks", ".dbt"})
_SECRET_FILES = frozenset(
    {
        *(".netrc", "_netrc", ".git-credentials", ".pypirc", ".npmrc", ".yarnrc", "pip.conf", "pip.ini", ".pgpass"),
        *(".my.cnf", ".s3cfg", ".boto", ".databrickscfg", ".htpasswd", ".vault-token", "kaggle.json", ".dockercfg"),
        *(".envrc", ".condarc", ".mambarc", ".vault_pass", ".ossutilconfig", "rclone.conf", "kubeconfig"),
        *("local.settings.json", "azureauth.json", "terraform.tfstate", "terraform.tfstate.backup"),
        *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "application_default_credentials.json", "credentials.db"),
    }
)
#: In a folder of this name, a file of that one.
_SECRET_PLACES = frozenset(
    {
        *((".docker", "config.json"), (".huggingface", "token"), ("huggingface", "token")),
        *((".streamlit", "secrets.toml"), (".m2", "settings.xml")),
    }
)
_ENVIRONMENT_FILE = re.compile(
    r"\.env(?:\..+)?(?<!\.example)(?<!\.sample)(?<!\.template)(?<!\.dist)(?<!\.default)(?<!\.defaults)"
    r"|(?!(?:example|sample|template|default)s?\.)[^.].*\.env",
    re.DOTALL | re.IGNORECASE,
)
_SECRET_NAME = re.compile(r".+\.(?:tfvars|tfstate|kubeconfig|publishsettings)", re.DOTALL | re.IGNORECASE)

#: What editors, shells and trackers of experiments leave in a project, and no service reads.
_STRAYS = frozenset(
    {
        *(".idea", ".vscode", ".history", "Thumbs.db", "desktop.ini"),
        *(".bash_history", ".zsh_history", ".python_history", ".Rhistory", ".viminfo"),
        *(".eggs", ".coverage", "htmlcov", ".hypothesis", "node_modules", ".terraform", ".dvc"),
        *("mlruns", "wandb", "lightning_logs"),
    }
)
# Backups and swap files of Emacs and Vim.
_OF_EDITORS = re.compile(r".+~|\..+\.sw[a-p]|#.+#", re.DOTALL)
_KEY_FILE = re.compile(r".*\.(?:pem|key|p8|ppk)", re.DOTALL | re.IGNORECASE)
_KEY_SIZES = range(64, 32 << 10)
_IS_PRIVATE_KEY = re.compile(rb"\s*-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")
_PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|\APuTTY-User-Key-File-")
_KEY_BYTES = 64 << 10

_POINTER = b"version https://git-lfs.github.com/spec/"
_POINTER_SIZES = range(len(_POINTER), 1024)

# POSIX.1, "ustar Interchange Format": the mark of a header, and where it is.
_TAR_MARK, _TAR_MARK_AT, _TAR_BLOCK = b"ustar", 257, 512
_TAR_LEAST = 4 * _TAR_BLOCK
_TAR_MEMBERS = 4096
_GZIP, _GZIP_BYTES = b"\x1f\x8b", 64 << 10
# What both forms of `docker save`, and an OCI layout, have in them.
_OF_IMAGE = re.compile(r"oci-layout|blobs/sha256/[0-9a-f]{64}|[0-9a-f]{64}(?:\.json|/layer\.tar|/VERSION|/json)")
#: The first bytes of a workspace's own file.
_WORKSPACE = re.compile(rb'\s*\{\s*"format"\s*:\s*"packager\.workspace/')
_LAYOUT_MEMBERS = frozenset({"oci-layout", "index.json"})


def cache_folders(environ: Mapping[str, str]) -> frozenset[bytes]:
    """Return the folders that this machine's programs keep caches in, and packager all it has: real absolute paths.

    Where a variable names a whole project, only what our own tools make of it is meant.
    """
    named = [path for name in CACHE_VARIABLES for path in environ.get(name, "").split(os.pathsep) if path[:1] == "/"]
    found = {*map(str, (cache_root(), data_root(), state_root())), *named}
    xdg = environ.get("XDG_CACHE_HOME", "")
    if xdg.startswith("/"):
        found |= {os.path.join(xdg, name) for name in ("uv", "pip", "rattler", "packager")}
    return frozenset(os.path.realpath(os.fsencode(path)) for path in found)


def is_cache(folder: bytes, names: Collection[str]) -> bool:
    """Whether a folder says of itself that it is a cache.

    Args:
        folder: absolute path.
        names: in it.
    """
    return _CACHE_TAG in names and start_of(os.path.join(folder, _CACHE_TAG.encode()), 64).startswith(_CACHE_SIGNATURE)


def is_image_layout(names: Collection[str]) -> bool:
    """Whether a folder is an OCI layout (`image-layout.md`), by the names in it."""
    return _LAYOUT_MEMBERS.issubset(names)


def is_workspace(folder: bytes, names: Collection[str]) -> bool:
    """Whether a folder has what is registered (`packager/workspace/folder.py`): the spec names what of it is packaged.

    Args:
        folder: absolute path.
        names: in it.
    """
    path = os.path.join(folder, b"workspace.json")
    return "workspace.json" in names and _WORKSPACE.match(start_of(path, 64)) is not None


def is_hub(folder: bytes, names: Collection[str]) -> bool:
    """Whether a folder is what a Hugging Face cache keeps of one repository: its content, and links by revision.

    Args:
        folder: absolute path.
        names: in it.
    """
    called = os.path.basename(folder).startswith((b"models--", b"datasets--", b"spaces--"))
    return "snapshots" in names and "blobs" in names and (called or "refs" in names)


def is_blobs_of_hub(folder: bytes, parent: Collection[str]) -> bool:
    """Whether a folder holds the content that the links of a Hugging Face cache lead to, which is taken there.

    Args:
        folder: absolute path.
        parent: names in the folder that holds it.
    """
    return os.path.basename(folder) == b"blobs" and is_hub(os.path.dirname(folder), parent)


def is_image_archive(path: bytes, size: int) -> bool:
    """Whether a file is a tar that holds an image: as `docker save`, or as an OCI layout; also one that is compressed.

    Args:
        path: of the file.
        size: bytes.
    """
    if start_of(path, 2) == _GZIP:
        return _is_compressed_image(path)
    if size < _TAR_LEAST or size % _TAR_BLOCK:
        return False
    start = start_of(path, _TAR_BLOCK)
    if start[_TAR_MARK_AT : _TAR_MARK_AT + len(_TAR_MARK)] != _TAR_MARK:
        return False
    import tarfile

    found = set()
    try:
        with (
            opened(path) as descriptor,
            os.fdopen(os.dup(descriptor), "rb") as file,
            tarfile.open(fileobj=file, mode="r:") as archive,
        ):
            for _ in range(_TAR_MEMBERS):
                member = archive.next()
                if member is None:
                    break
                found.add(posixpath.normpath(member.name))
    except (tarfile.TarError, OSError, ValueError, EOFError):
        return False
    return found >= _LAYOUT_MEMBERS or ("manifest.json" in found and any(map(_is_config, found)))


def _is_compressed_image(path: bytes) -> bool:
    """Whether what a gzip file begins with are members of an image: a whole archive is not read to find that out."""
    import tarfile

    try:
        head = zlib.decompressobj(wbits=31).decompress(start_of(path, _GZIP_BYTES), _GZIP_BYTES)
    except zlib.error:
        return False
    if head[_TAR_MARK_AT : _TAR_MARK_AT + len(_TAR_MARK)] != _TAR_MARK:
        return False
    found: list[str] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(head), mode="r:") as archive:
            while (member := archive.next()) is not None and len(found) < _TAR_MEMBERS:
                found.append(posixpath.normpath(member.name))
    except (tarfile.TarError, OSError, ValueError, EOFError):
        pass  # the head ends somewhere inside
    return any(_OF_IMAGE.fullmatch(name) for name in found)


def _is_config(name: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{64}\.json|blobs/sha256/[0-9a-f]{64}", name) is not None


def is_secret(path: str) -> bool:
    """Whether a path, relative to the source directory, is by its name where a program keeps credentials."""
    *folders, name = path.split("/")
    parent = folders[-1] if folders else ""
    return (
        not _SECRET_FOLDERS.isdisjoint((*folders, name))
        or name in _SECRET_FILES
        or (parent, name) in _SECRET_PLACES
        or is_environment_file(name)
        or _SECRET_NAME.fullmatch(name) is not None
    )


def is_environment_file(name: str) -> bool:
    """Whether a file is by its name one that sets variables: `.env`, `.env.prod` or `prod.env`, and no example."""
    return _ENVIRONMENT_FILE.fullmatch(name) is not None


def is_stray(path: str) -> bool:
    """Whether a path, relative to the source directory, is by its name what programs of a developer leave."""
    name = path.rpartition("/")[2]
    return name in _STRAYS or _OF_EDITORS.fullmatch(name) is not None


def is_private_key(path: str, full: bytes, size: int) -> bool:
    """Whether a file is a private key, by whatever name, or is called like a key and holds a private one."""
    if _KEY_FILE.fullmatch(path) is not None:
        return _PRIVATE_KEY.search(start_of(full, _KEY_BYTES)) is not None
    return size in _KEY_SIZES and _IS_PRIVATE_KEY.match(start_of(full, 128)) is not None


def is_pointer(path: bytes, size: int) -> bool:
    """Whether a file is what Git LFS leaves in the place of one that was not fetched."""
    return size in _POINTER_SIZES and start_of(path, len(_POINTER)) == _POINTER


def pointer_error(shown: str) -> ContextError:
    """Return the error for a file, given by its path, that is what Git LFS left in its place."""
    return ContextError(
        f"{shown} is a pointer of Git LFS, and not the file that it stands for",
        remedy="fetch the file: `git lfs install`, then `git lfs pull` (in CI: check out with LFS)",
    )


def asked_for(secrets: Iterable[str], scripts: Iterable[tuple[str, bytes]]) -> tuple[str, int, str] | None:
    """Return the first script that names a file which is left out: the script, its line, and the file; None for none.

    Args:
        secrets: paths of files relative to the source directory; environment files are read where they are there alone.
        scripts: path and content of Python files.
    """
    wanted = [path for path in secrets if not is_environment_file(posixpath.basename(path))]
    for script, data in scripts if wanted else ():
        if not any(posixpath.basename(path).encode() in data for path in wanted):
            continue
        for text, line in _texts(data):
            for path in wanted:
                if posixpath.normpath(text) == path or posixpath.basename(text) == posixpath.basename(path):
                    return script, line, path
    return None


def _texts(data: bytes) -> Sequence[tuple[str, int]]:
    try:
        nodes = [each for each in ast.walk(ast.parse(data)) if isinstance(each, ast.Constant)]
    except (SyntaxError, ValueError, RecursionError):
        return []  # checks say so
    return [(each.value, each.lineno) for each in nodes if isinstance(each.value, str) and len(each.value) < 1024]
