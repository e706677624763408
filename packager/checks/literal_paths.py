"""Files that a script opens by a literal path, which are beside the spec and will not be in the image. Pure."""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Callable, Iterator

from packager.checks.reach import Image, Reached
from packager.contract import APP_ROOT
from packager.finding import Finding
from packager.spec.model import Spec

#: Names of functions that read the file which their first argument names.
_READERS = frozenset(
    {
        *("open", "Path", "load", "load_model", "from_file", "from_pretrained", "InferenceSession", "CDLL"),
        *("read_csv", "read_json", "read_parquet", "read_excel", "read_pickle", "read_table", "read_feather"),
        *("genfromtxt", "loadtxt", "read_text", "imread", "exists", "isfile", "isdir", "listdir", "glob"),
    }
)
_WRITING = frozenset("wax")
_JOINING = frozenset({"join", "Path", "PurePath", "PosixPath"})


def literal_path_findings(
    image: Image, reached: Reached, spec: Spec, read: Callable[[str], bytes], is_there: Callable[[str], bool]
) -> Iterator[Finding]:
    """Yield a warning for each literal path that is beside the spec and not in the image.

    Args:
        image: the image.
        reached: the modules of the app that the entry script reaches.
        spec: it.
        read: returns the content of a module by its path in the image; raises OSError.
        is_there: whether a path is a file or folder beside the spec.
    """
    present = set(image.files)
    for file in image.files:
        while (file := posixpath.dirname(file)) not in present and file != "/":
            present.add(file)
    for path in dict.fromkeys(module.path for module in reached.modules):
        try:
            tree = ast.parse(read(path))
        except (OSError, SyntaxError, ValueError, RecursionError):
            continue  # which is told with the imports
        for text, line in literal_paths(tree):
            wanted = posixpath.normpath(posixpath.join(APP_ROOT, text))
            if wanted not in present and is_there(posixpath.normpath(text)):
                yield Finding(
                    rule="path-not-packaged",
                    severity="warning",
                    message=f"{text!r} is beside the spec, and {wanted} will not be in the image",
                    file=image.files[path],
                    line=line,
                    remedy=_remedy(posixpath.normpath(text), spec),
                )


def literal_paths(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield each relative path that a module reads by its literal name, with the line."""
    told: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args or id(node) in told:
            continue
        name = _name(node)
        text = _text(node if name in _JOINING else node.args[0])
        modes = [*node.args[1:2], *(each.value for each in node.keywords if each.arg == "mode")]
        writes = name == "open" and any(
            isinstance(each, ast.Constant) and isinstance(each.value, str) and _WRITING & set(each.value)
            for each in modes
        )
        if name in _READERS and text is not None and _is_relative(text) and not writes:
            # A path that is made of another, which comes later, is one path.
            told.update(map(id, ast.walk(node.args[0])))
            yield text, node.lineno


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _text(node: ast.expr) -> str | None:
    """Return a path that is written out, in one piece or joined; None of what is not known to its end."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        parts = [_text(node.left), _text(node.right)]
    elif isinstance(node, ast.Call) and _name(node) in _JOINING and node.args:
        parts = [_text(each) for each in node.args]
    else:
        return None
    known = [each for each in parts if each is not None]
    return posixpath.join(*known) if len(known) == len(parts) else None


def _is_relative(text: str) -> bool:
    return not text.startswith(("/", "../", "~")) and "://" not in text and posixpath.normpath(text) != "."


def _remedy(path: str, spec: Spec) -> str:
    for model in (each for each in spec.models if each.registered is None):
        own = posixpath.normpath(model.path)
        if path == own or path.startswith(f"{own}/"):
            return "it is a model: open it in the folder that AZUREML_MODEL_DIR names"
    source = posixpath.normpath(spec.source_dir)
    if source != "." and path.startswith(f"{source}/"):
        if "/" not in source:
            return (
                "`keep_source_dir: true` keeps the name of the source directory, as Azure ML v1 does; or open it "
                f"as {path.removeprefix(f'{source}/')!r}"
            )
        return f"open it as {path.removeprefix(f'{source}/')!r}: the app's folder is the content of {source}"
    return "put it into `source_dir`, and see that .dockerignore does not leave it out"
