"""The step `model profile` on models and files of Azure ML v1, without a spec."""

from __future__ import annotations

import msgspec

from packager.errors import UsageError
from packager.steps.declared import package_name
from packager.steps.profile import Profile, ProfileWish, profile, read_samples
from packager.steps.reporting import SILENT, Reporter
from packager.steps.v1_files import Asked, declare
from packager.steps.v1_images import build_laid, laid
from packager.steps.v1_records import root_of
from packager.steps.workspace import Workspace

__all__ = ["PROFILES", "image_of_profile", "profile_files"]

#: Kind of the records of profiles, and of the folders of their packages.
PROFILES = "profiles"


def profile_files(
    workspace: Workspace, name: str | None, asked: Asked, wish: ProfileWish, *, reporter: Reporter = SILENT
) -> Profile:
    """Package models, and measure the image; or, without Docker, the locked environment.

    Args:
        workspace: that has the models.
        name: of the profile; the first model's where None.
        asked: files and models; limits of a deployment configuration are those that are tried first.
        wish: how it is measured; it names no image, and the requests.
        reporter: is told what is done.

    Raises:
        UsageError: an image or a target is named, too, or there is no request.
        PackagerError: see `packager.steps.v1_files.declare`, `packager.steps.build.build`, and
            `packager.steps.profile.profile`.
    """
    if wish.reference is not None or wish.target is not None:
        what = f"the image {wish.reference}" if wish.reference is not None else f"--target {wish.target}"
        raise UsageError(
            f"models and files are packaged into an image of their own, and {what} is another one",
            remedy="leave it out, or -m, --ic and --dc",
        )
    read_samples(wish, None)  # one that is wrong is told before anything is built
    name = name or (asked.models[0].rpartition("/")[2].partition(":")[0] if asked.models else "profile")
    declared = declare(workspace, name, asked, reporter)
    reference = image_of_profile(name)
    with laid(root_of(workspace.name, workspace.location), declared, PROFILES, reporter=reporter) as spec_file:
        if wish.docker:
            build_laid(spec_file, reference, reporter=reporter)
        return profile(
            msgspec.structs.replace(wish, reference=reference if wish.docker else None, name=name),
            spec_file,
            reporter=reporter,
        )


def image_of_profile(name: str) -> str:
    """Return the reference of the image that is made to be measured. Pure."""
    return f"{package_name(name)}:profile"
