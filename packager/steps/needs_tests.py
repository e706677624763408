"""Whether images are tested before their push; what tests them is imported where they are."""

from __future__ import annotations

from packager.builders.builder import Testing
from packager.engine.api import inspect_local
from packager.errors import EngineError
from packager.spec.load import SpecFile
from packager.steps.reporting import Reporter


def needs_tests(spec_file: SpecFile, *, test: Testing, reporter: Reporter) -> bool:
    """Tell whether images have to be tested before their push, and refuse at once where that will not be possible.

    Args:
        spec_file: the spec.
        test: False where the user takes it on that they are not, `done` where they were a moment ago.
        reporter: is told what is not tested.

    Raises:
        EngineError: there are tests and no engine to run them.
    """
    if not has_tests(spec_file, test, reporter):
        return False
    try:
        inspect_local("packager-test", required=True)
    except EngineError as error:
        raise EngineError(
            f"the spec has tests, and no engine is there to run the image: nothing is pushed\n{error.message}",
            remedy="start an engine; or test without (`packager test --no-docker`), and push without tests: --no-test",
        ) from None
    return True


def has_tests(spec_file: SpecFile | None, test: Testing, reporter: Reporter) -> bool:
    """Tell whether a spec's images are to be tested, and say why where they are not; arguments as of `needs_tests`."""
    if test == "done":
        return False
    if spec_file is None or not spec_file.spec.test:
        reporter.step("no tests: the spec has no `test:` section" if spec_file else "no tests: there is no spec here")
        return False
    if not test:
        reporter.warn("--no-test: what is pushed was not tested")
    return test
