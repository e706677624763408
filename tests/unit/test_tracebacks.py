"""Why a service did not start, by its log: the script is not always at fault."""

from __future__ import annotations

import pytest

from packager.serving.service import State, failed, why_it_ended
from packager.serving.tracebacks import Raised, advice, raised_in

ENDED = why_it_ended(State(running=False, exit_code=3))
# As azureml-inference-server-http 1.5 and gunicorn write it.
LOG = """\
2026-11-28 00:37:47,519 E [4847] azmlinfsrv - Traceback (most recent call last):
  File "/site-packages/azureml_inference_server_http/server/user_script.py", line 117, in invoke_init
    self._user_init()
    ~~~~~~~~~~~~~~~^^
  File "/var/azureml-app/score.py", line 5, in init
    load(os.path.join("m", "model.pkl"))
{frames}{raised}

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/site-packages/azureml_inference_server_http/server/aml_blueprint.py", line 109, in setup
    self.user_script.invoke_init()
azureml_inference_server_http.server.user_script.UserScriptException: Caught an unhandled exception from the user script

2026-11-28 00:37:47,519 I [4847] gunicorn.error - Worker exiting (pid: 4847)
2026-11-28 00:37:48,547 E [4658] gunicorn.error - Reason: Worker failed to boot.
"""
PICKLE = '  File "/opt/venv/lib/python3.13/site-packages/joblib/numpy_pickle.py", line 658, in load\n    x()\n'
WRAPT = '  File "/opt/venv/lib/python3.11/site-packages/wrapt/decorators.py", line 34, in <module>\n    x()\n'
OS = '  File "<frozen os>", line 716, in __getitem__\n'


def error(raised: str, frames: str = "") -> tuple[str, str]:
    found = failed(ENDED, LOG.format(frames=frames, raised=raised))
    head, reason = found.message.splitlines()[:2]
    assert reason == ENDED
    return head, str(found.remedy)


@pytest.mark.parametrize(
    ("raised", "frames", "says"),
    [
        ("ModuleNotFoundError: No module named 'cupy'", "", "no module cupy: `packager check` names the package"),
        ("ModuleNotFoundError: No module named 'sklearn.linear_model.base'", PICKLE, "the image has sklearn, and no"),
        ("ModuleNotFoundError: No module named 'numpy._core'", PICKLE, "save the model again"),
        ("ImportError: libGL.so.1: cannot open shared object file: No such file", "", "opencv-python-headless"),
        (
            "OSError: libgomp.so.1: cannot open shared object file: No such file",
            PICKLE,
            "`system_packages: [libgomp1]`",
        ),
        ("ImportError: libodd.so.3: cannot open shared object file: No such file", "", "in `system_packages`"),
        ("ImportError: /lib/libm.so.6: version `GLIBC_2.38' not found (required by x)", "", "GLIBC_2.38, newer than"),
        ("ImportError: cannot import name 'asscalar' from 'numpy' (/x)", "", "the locked numpy has no asscalar"),
        ("ImportError: cannot import name 'formatargspec' from 'inspect' (/x)", WRAPT, "a release of wrapt"),
        (
            "ImportError: cannot import name 'Mapping' from 'collections' (/x)",
            "",
            "or lock another Py",
        ),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'm/model.pkl'", "", "`models:` of the spec, or corr"),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/var/azureml-app/azureml-models/m/1/x.pkl'",
            PICKLE,
            "correct the path in score.py:5, or `models:`",
        ),
        ("PermissionError: [Errno 13] Permission denied: '/x'", "", "write below /tmp"),
        ("MemoryError", PICKLE, "--memory"),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 9. GiB for an array", PICKLE, "--memory"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried", PICKLE, "--memory"),
        (
            "RuntimeError: Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False",
            "",
            "map_",
        ),
        ("AttributeError: Can't get attribute 'f' on <module '__main__' from 'x'>", PICKLE, "the model holds f of the"),
        (
            "AttributeError: Can't get attribute '_L' on <module 'sklearn.x' from 'y'>",
            PICKLE,
            "saved by another version",
        ),
        ("ValueError: node array from the pickle has an incompatible dtype:", PICKLE, "saved by another version"),
        ("ValueError: unsupported pickle protocol: 5", PICKLE, "saved by another version"),
        ("KeyError: 'MY_TOKEN'", OS, "MY_TOKEN is not set: `env:`"),
        ("KeyError: 'MY_TOKEN'", "", "mend the entry script (line score.py:5)"),
        ("KeyError: 'model'", "", "mend the entry script (line score.py:5)"),
        ("ZeroDivisionError: division by zero", "", "mend the entry script"),
        ("ValueError: no such thing", PICKLE, "a package that the entry script calls (line score.py:5)"),
        ("requests.exceptions.ConnectionError: HTTPSConnectionPool(…)", PICKLE, "init() asks the network"),
        ("ValueError: numpy.dtype size changed, may indicate binary incompatibility", PICKLE, "numpy<2"),
    ],
)
def test_what_the_traceback_says_is_said(raised: str, frames: str, says: str) -> None:
    head, remedy = error(raised, frames)
    assert head.startswith("score.py:5: ")
    kind, _, text = raised.partition(": ")
    assert (kind.rpartition(".")[2] in head) or text in head
    assert says in remedy
    assert ("mend the entry script" in remedy) is ("mend the entry script" in says)


def test_the_first_line_says_where_and_what() -> None:
    assert error("ModuleNotFoundError: No module named 'pandas'")[0] == "score.py:5: No module named 'pandas'"
    assert error("ImportError: libGL.so.1: cannot open shared object file: No such file")[0].startswith(
        "score.py:5: libGL.so.1: cannot open"
    )
    assert error("KeyError: 'model'")[0] == "score.py:5: KeyError: 'model'"


def test_without_a_line_of_the_script_the_end_goes_first() -> None:
    log = LOG.format(frames="", raised="ValueError: x").replace("/var/azureml-app/", "/elsewhere/")
    assert failed(ENDED, log).message.startswith(f"{ENDED}: ValueError: x\n")


def test_the_exception_of_the_script_is_found() -> None:
    found = raised_in(LOG.format(frames=PICKLE, raised="_pickle.UnpicklingError: invalid load key, 'v'."))
    assert found is not None
    assert (found.kind, found.text, found.line, found.is_ours) == (
        "UnpicklingError",
        "invalid load key, 'v'.",
        "score.py:5",
        False,
    )
    assert raised_in("started\nKeyError: 'x'\n") is None, "no traceback"
    assert len(str(Raised(kind="ValueError", text="x" * 999))) < 250


# As azureml-core raises it: the class, and what it says on a line of its own.
AZUREML = """\
azureml.exceptions._azureml_exception.ModelNotFoundException: ModelNotFoundException:
\tMessage: Model ridge not found in cache at azureml-models or in current working directory /var/azureml-app
\tInnerException None
\tErrorResponse
{
    "error": {}
}"""


def test_what_an_exception_says_may_be_in_the_line_below() -> None:
    head, remedy = error(AZUREML)
    assert head.startswith("score.py:5: ModelNotFoundException: Model ridge not found in cache at azureml-models")
    assert "no model that is called ridge: correct the name in score.py:5" in remedy
    silent = raised_in(LOG.format(frames="", raised="RuntimeError:\n\nnot of it"))
    assert silent is not None
    assert (silent.kind, silent.text) == ("RuntimeError", "")


def test_a_request_that_failed_is_not_why_a_service_ended() -> None:
    log = LOG.format(frames="", raised="KeyError: 'data'")
    assert failed("the service ended with exit code 1", log).remedy == "look at the log above"
    assert "--memory" in str(failed("the service ran out of memory and was ended", log).remedy)


def test_without_a_traceback_the_script_is_named() -> None:
    assert failed(ENDED, "bye").remedy == "mend the entry script"
    assert advice(Raised(kind="KeyError", text="'x'")) == "mend the entry script"


FROM = """
The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/opt/venv/lib/python3.11/site-packages/dask/dataframe/__init__.py", line 64, in <module>
    raise ImportError(msg) from e
"""


def test_the_first_cause_is_told_and_decides() -> None:
    chained = "ModuleNotFoundError: No module named 'numpy.compat'\n"
    chained += f"{FROM}ImportError: array requirements are not installed.\n"
    chained += f"{FROM}ImportError: Dask dataframe requirements are not installed."
    raised = raised_in(LOG.format(frames="", raised=chained))
    assert raised is not None
    assert raised.said == "Dask dataframe requirements are not installed. (No module named 'numpy.compat')"
    assert advice(raised).startswith("the image has numpy, and no numpy.compat")
    # A second worker's traceback has no cause in that of the first.
    log = LOG.format(frames="", raised="ValueError: a") + LOG.format(frames="", raised="KeyError: 'b'")
    last = raised_in(log)
    assert last is not None
    assert (last.kind, last.cause) == ("KeyError", None)
