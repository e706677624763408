"""A workspace in a registry that is in this process: registering, changing, deleting, listing, and what goes wrong."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from packager.errors import ContextError, PackagerError, RegistryError, TemporaryError, UsageError
from packager.registry.client import RegistryClient
from packager.registry.push import PushResult
from packager.steps.workspaces import create
from packager.storage.content import ContentStore
from packager.workspace import claims, documents
from packager.workspace.artifacts import pull_artifact, pull_reference, push_version
from packager.workspace.base import NotRegisteredError, TakenError, Workspace
from packager.workspace.documents import json_text, note
from packager.workspace.modelpack import write_version
from packager.workspace.registry import RegistryWorkspace, parse_location
from packager.workspace.sources.registry import fetch_reference
from packager.workspace.tags import read_number_tags
from packager.workspace.values import Change, Content, File, Held, ImageRecord, Resources, Source, Version
from tests.unit.registry_fake import FakeRegistry, Fault, digest_of, log_in, running

NOW = 1_800_000_000.0


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRegistry]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with running() as server:
        yield server


class Machine:
    """One machine's view of the workspace: a store and a memory of its own."""

    def __init__(self, server: FakeRegistry, folder: Path, **options: Any) -> None:
        self.content = ContentStore(folder)
        options = {"pause": lambda seconds: None, "clock": lambda: NOW, **options}
        self.workspace = RegistryWorkspace(f"oci://{server.address}/ml/ws", content=self.content, **options)


@pytest.fixture
def here(server: FakeRegistry, tmp_path: Path) -> RegistryWorkspace:
    return Machine(server, tmp_path / "here").workspace


@pytest.fixture
def there(server: FakeRegistry, tmp_path: Path) -> RegistryWorkspace:
    return Machine(server, tmp_path / "there").workspace


@pytest.fixture
def contents(tmp_path: Path) -> list[Content]:
    return files(tmp_path, "m/weights.bin", "m/README.md", "m/empty")


def files(folder: Path, *paths: str, salt: str = "") -> list[Content]:
    found = []
    for path in paths:
        at = folder / "files" / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text("" if path.endswith("empty") else f"content of {path} {salt}")
        found.append(Content(path=path, origin=at))
    return found


def draft(name: str = "Iris_v2", **fields: Any) -> Version:
    return Version(kind="model", name=name, **fields)


def tags(server: FakeRegistry, path: str) -> set[str]:
    return {name for of, name in server.manifests if of == f"ml/ws/{path}" and ":" not in name}


def test_it_is_a_workspace(here: RegistryWorkspace, server: FakeRegistry) -> None:
    workspace: Workspace = here
    assert (workspace.name, workspace.location) == ("ws", f"oci://{server.address}/ml/ws")
    assert workspace.names("model") == ()
    assert workspace.versions("model") == workspace.versions("model", "none") == ()
    assert workspace.images() == ()
    # Looking makes nothing.
    assert server.manifests == {}


def test_it_is_made_or_said_not_to_be(server: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    location = f"oci://{server.address}/ml/made"
    assert create(location).location == create(location).location == location
    assert {name for of, name in server.manifests if of == "ml/made/workspace" and ":" not in name} == {"format"}
    server.fail("GET", "", *[Fault(status=403)] * 9)
    with pytest.raises(RegistryError):
        create(location)


@pytest.mark.parametrize("location", ["x", "oci://", "oci://h.example/A", "oci://h.example/a:1", "https://h.example/a"])
def test_what_is_no_location_is_refused(location: str) -> None:
    with pytest.raises(UsageError):
        parse_location(location)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(UsageError, match="no user or password in it") as caught:
        parse_location("oci://alice:s3cret@registry.example.com:5000/ml")
    assert "docker login registry.example.com:5000`" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_what_is_registered_here_is_there(
    here: RegistryWorkspace, there: RegistryWorkspace, contents: list[Content], tmp_path: Path
) -> None:
    wish = draft(
        framework="ScikitLearn", framework_version="1.5", resources=Resources(cpu=1.0), run_id="r",
        source=Source(uri="hf://a/b@main", revision="c"), details={"a": [1]}, description="d", tags={"t": "1"},
        properties={"p": "2"},
    )  # fmt: skip
    version = here.add(wish, contents, files(tmp_path, "one.json"))
    assert (version.id, version.created) == ("Iris_v2:1", "2027-01-15T08:00:00Z")
    assert [file.path for file in version.files] == ["m/README.md", "m/empty", "m/weights.bin"]
    assert there.get("model", "Iris_v2") == there.get("model", "Iris_v2", 1) == version
    assert there.versions("model") == there.versions("model", "Iris_v2") == (version,)
    assert there.names("model") == ("Iris_v2",)
    assert there.names("environment") == ()
    for file in (*version.files, *version.samples):
        with there.open(version, file) as path:
            assert digest_of(path.read_bytes()) == f"sha256:{file.sha256}"


def test_numbers_go_on(here: RegistryWorkspace, there: RegistryWorkspace, contents: list[Content]) -> None:
    assert [each.add(draft(), contents).version for each in (here, there, here)] == [1, 2, 3]
    assert [version.version for version in there.versions("model")] == [1, 2, 3]


def test_an_environment_is_no_model(here: RegistryWorkspace, contents: list[Content]) -> None:
    here.add(Version(kind="environment", name="Iris_v2"), contents)
    assert here.names("model") == ()
    assert [version.kind for version in here.versions("environment")] == ["environment"]
    with pytest.raises(NotRegisteredError, match="no model 'Iris_v2' is registered"):
        here.get("model", "Iris_v2")


def test_nothing_is_sent_twice(
    here: RegistryWorkspace, contents: list[Content], server: FakeRegistry, tmp_path: Path
) -> None:
    here.add(draft("a"), contents)
    sent = server.received
    here.add(draft("a"), contents)
    assert server.received - sent < 20_000  # documents alone
    posts = [asked.path for asked in server.asked if asked.method == "POST"]
    here.add(draft("b"), contents)
    mounted = [asked.path for asked in server.asked if asked.method == "POST" and "mount=" in asked.path]
    assert len(mounted) == 3
    assert not any("mount=" in path for path in posts)


def test_a_change_is_seen_and_changes_no_digest(
    here: RegistryWorkspace, there: RegistryWorkspace, contents: list[Content], server: FakeRegistry
) -> None:
    version = here.add(draft(tags={"a": "1"}), contents)
    before = server.manifests["ml/ws/models/x----49ris--5fv2", "1"]
    after = there.change(version, Change(description="new", add_tags={"b": "2"}, add_properties={"p": "x"}))
    assert (after.tags, after.description, after.changes) == ({"a": "1", "b": "2"}, "new", 1)
    assert here.get("model", "Iris_v2") == after
    assert here.versions("model") == (after,)
    # By the old value: the newest counts.
    again = here.change(version, Change(remove_tags=("a",)))
    assert (again.tags, again.changes) == ({"b": "2"}, 2)
    assert there.change(version, Change(add_tags={"b": "2"})) == again
    with pytest.raises(UsageError, match="never changes"):
        there.change(version, Change(add_properties={"p": "y"}))
    assert server.manifests["ml/ws/models/x----49ris--5fv2", "1"] == before


def test_a_deleted_number_is_never_given_again(
    here: RegistryWorkspace, there: RegistryWorkspace, contents: list[Content], server: FakeRegistry
) -> None:
    one, two = here.add(draft(tags={"a": "b"}), contents), here.add(draft(), contents)
    here.delete(two)
    assert there.versions("model") == (one,)
    for act in (lambda: there.get("model", "Iris_v2", 2), lambda: there.delete(two)):
        with pytest.raises(NotRegisteredError, match="Iris_v2:2 is deleted"):
            act()
    with pytest.raises(NotRegisteredError):
        there.change(two, Change(description="x"))
    with pytest.raises(TakenError, match="deleted"):
        there.add(draft(), contents, number=2)
    assert there.add(draft(), contents).version == 3
    here.delete(one)
    here.delete(here.get("model", "Iris_v2", 3))
    assert here.names("model") == ()
    assert tags(server, "models/x----49ris--5fv2") == {"1.deleted", "2.deleted", "3.deleted"}


def test_a_number_from_elsewhere_is_kept(
    here: RegistryWorkspace, contents: list[Content], tmp_path: Path, there: RegistryWorkspace
) -> None:
    version = here.add(draft(created="2020-01-01T00:00:00Z", changes=3, tags={"a": "b"}), contents, number=7)
    assert (version.version, version.created, version.changes) == (7, "2020-01-01T00:00:00Z", 3)
    assert there.add(draft(description="other"), contents, number=7) == version
    with pytest.raises(TakenError, match="another model Iris_v2:7"):
        there.add(draft(), files(tmp_path, "m/weights.bin", salt="x"), number=7)
    assert there.add(draft(), contents).version == 8
    assert there.add(draft(), contents, number=2).version == 2
    assert [each.version for each in here.versions("model")] == [2, 7, 8]


def test_what_a_killed_run_left_is_in_nobodys_way(
    here: RegistryWorkspace, contents: list[Content], server: FakeRegistry, there: RegistryWorkspace
) -> None:
    path = "models/x----49ris--5fv2"
    here.add(draft(), contents)
    # Between its claim and the state, and between the state and the version.
    here._remote.put(path, "2.claim-ab", "claim", json_text({"when": NOW}))
    here._remote.put(path, "3.claim-ab", "claim", json_text({"when": NOW - 4000}))
    left = {"after": {"tags": {"half": "done"}}, "first": True}
    here._remote.put(path, "3.0-ab", "edit", json_text(left))
    assert [each.version for each in there.versions("model")] == [1]
    assert there.add(draft(), contents).version == 4
    # An explicit number waits for a living claim, and takes what is abandoned.
    with pytest.raises(TemporaryError, match="all the time"):
        there.add(draft(), contents, number=2)
    third = there.add(draft(), contents, number=3)
    assert (third.version, third.tags) == (3, {})
    assert here.get("model", "Iris_v2", 3) == third


@pytest.mark.parametrize("step", ["put_new", "_write_index", "say_name", "keep"])
def test_a_kill_at_a_step_leaves_nothing_half(
    here: RegistryWorkspace,
    there: RegistryWorkspace,
    contents: list[Content],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    here.add(draft(tags={"n": "1"}), contents)
    owner = here._remote if step == "put_new" else here._records

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, step, killed)
    with pytest.raises(KeyboardInterrupt):
        here.add(draft(tags={"n": "2"}), contents)
    seen = [(version.version, version.tags) for version in there.versions("model")]
    assert seen in ([(1, {"n": "1"})], [(1, {"n": "1"}), (2, {"n": "2"})])
    assert seen == [(version.version, version.tags) for version in there.versions("model", "Iris_v2")]
    if step in ("_write_index", "keep"):
        assert len(seen) == 2
    assert there.add(draft(), contents).version > len(seen)
    assert len(there.versions("model")) == len(seen) + 1


def test_many_at_once_lose_nothing(server: FakeRegistry, tmp_path: Path, contents: list[Content]) -> None:
    machines = [Machine(server, tmp_path / f"m{number}", pause=lambda seconds: threading.Event().wait(seconds / 20))
                for number in range(6)]  # fmt: skip
    done: list[Version] = []
    start = threading.Barrier(len(machines))

    def register(number: int) -> None:
        workspace = machines[number].workspace
        start.wait()
        for turn in range(2):
            done.append(workspace.add(draft(tags={"who": f"{number}.{turn}"}), contents))

    threads = [threading.Thread(target=register, args=(number,)) for number in range(len(machines))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({version.version for version in done}) == len(done) == 12
    fresh = Machine(server, tmp_path / "fresh").workspace
    assert sorted(done, key=lambda each: each.version) == list(fresh.versions("model"))
    assert fresh.versions("model") == fresh.versions("model", "Iris_v2")


@pytest.mark.parametrize("before", [0, 1])
def test_changes_that_have_not_seen_each_other_are_both_kept(
    here: RegistryWorkspace,
    there: RegistryWorkspace,
    contents: list[Content],
    before: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    version = here.add(draft(), contents)
    for number in range(before):
        version = here.change(version, Change(add_tags={f"before{number}": "x"}))
    edit_at, real = "packager.workspace.registry.edit_of", documents.edit_of

    def edit_of(*args: Any) -> Any:
        made = real(*args)
        monkeypatch.setattr(edit_at, real)
        # Another machine's change comes between what is known and what is written.
        here.change(version, Change(add_tags={"here": "x"}))
        return made

    monkeypatch.setattr(edit_at, edit_of)
    there.change(version, Change(add_tags={"there": "x"}))
    after = here.get("model", "Iris_v2")
    assert sorted(after.tags) == [*(f"before{number}" for number in range(before)), "here", "there"]
    assert after.changes == 2 + before


def test_many_changes_at_once_are_all_kept(server: FakeRegistry, tmp_path: Path, contents: list[Content]) -> None:
    pause: Callable[[float], object] = lambda seconds: threading.Event().wait(seconds / 20)  # noqa: E731
    machines = [Machine(server, tmp_path / f"m{number}", pause=pause) for number in range(4)]
    version = machines[0].workspace.add(draft(), contents)

    def change(number: int) -> None:
        for turn in range(2):
            machines[number].workspace.change(version, Change(add_tags={f"{number}.{turn}": "x"}))

    threads = [threading.Thread(target=change, args=(number,)) for number in range(len(machines))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = Machine(server, tmp_path / "fresh").workspace.get("model", "Iris_v2")
    assert sorted(after.tags) == sorted(f"{number}.{turn}" for number in range(4) for turn in range(2))
    assert after.changes == 8


def test_where_two_claim_one_number_both_give_way(here: RegistryWorkspace, contents: list[Content]) -> None:
    path, seen = "models/x----49ris--5fv2", list[int]()
    here.add(draft(), contents)

    def interfere(_seconds: float = 0) -> None:
        here._remote.remove(path, ["2.claim-ab"])

    here._remote.put(path, "2.claim-ab", "claim", json_text({"when": NOW}))
    here._remote.pause = interfere
    with claims.claimed(here._remote, path, lambda tags: 2, lambda: NOW) as found:
        assert found is not None
        seen.append(found[0])
        assert read_number_tags(here._remote.client(path).tags()).claims.keys() == {2}
    assert seen == [2]
    assert read_number_tags(here._remote.client(path).tags()).claims == {}


# --- registries that do less ------------------------------------------------------------------------------------------


def test_a_registry_without_deletion_and_with_fixed_tags_holds_a_workspace(
    here: RegistryWorkspace, there: RegistryWorkspace, contents: list[Content], server: FakeRegistry
) -> None:
    server.tags_move, server.deletes = False, False
    one, two = here.add(draft(tags={"a": "b"}), contents), there.add(draft(), contents)
    one = there.change(one, Change(add_tags={"c": "d"}))
    one = here.change(one, Change(description="d"))
    here.delete(two)
    three = there.add(draft(), contents)
    assert three.version > two.version
    assert here.versions("model") == there.versions("model") == (one, three)
    # Once refused, it is not asked again.
    assert server.count("DELETE") == 2
    asked = len(server.asked)
    assert here.versions("model") == (one, three)
    assert len(server.asked) - asked == 1


def test_what_somebody_else_wrote_under_the_number_is_no_version(
    here: RegistryWorkspace, there: RegistryWorkspace, contents: list[Content], server: FakeRegistry
) -> None:
    one = here.add(draft(), contents)
    here._remote.put("models/x----49ris--5fv2", "2", "name", "not a version")
    assert there.versions("model", "Iris_v2") == (one,)
    (sentence,) = there.damage()
    assert sentence.startswith("model Iris_v2:2: ")
    with pytest.raises(RegistryError):
        there.get("model", "Iris_v2", 2)
    assert there.add(draft(), contents).version == 3
    assert [version.version for version in here.versions("model")] == [1, 3]
    assert len(here.damage()) == 1


def test_tags_come_in_pages(
    here: RegistryWorkspace, there: RegistryWorkspace, contents: list[Content], server: FakeRegistry
) -> None:
    server.page = 2
    for _ in range(4):
        here.add(draft(), contents)
    assert [version.version for version in there.versions("model", "Iris_v2")] == [1, 2, 3, 4]


# --- lists are cheap --------------------------------------------------------------------------------------------------


def test_a_list_is_one_request_a_name_and_then_one_alone(
    here: RegistryWorkspace, there: RegistryWorkspace, contents: list[Content], server: FakeRegistry
) -> None:
    for name in ("a", "b", "c"):
        for _ in range(5):
            here.add(draft(name), contents)
    server.asked.clear()
    assert len(there.versions("model")) == 15
    # The format, the tags, three indexes.
    assert len(server.asked) == 5
    server.asked.clear()
    assert len(there.versions("model")) == 15
    assert len(server.asked) == 1
    here.add(draft("b"), contents)
    server.asked.clear()
    assert len(there.versions("model")) == 16
    assert len(server.asked) == 2


def test_the_first_list_of_many_names_makes_that_of_the_next_machine_cheap(
    here: RegistryWorkspace, there: RegistryWorkspace, contents: list[Content], server: FakeRegistry, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("packager.workspace.name_records.MANY", 2)
    for name in ("a", "b", "c"):
        here.add(draft(name), contents)
    assert len(there.versions("model")) == 3
    assert len([tag for tag in tags(server, "workspace") if tag.startswith("all-1-")]) == 1
    third = Machine(server, tmp_path / "third").workspace
    server.asked.clear()
    assert third.versions("model") == there.versions("model")
    # The format, the tags (twice), the bundle and its blob.
    assert len([asked for asked in server.asked if asked.method == "GET"]) == 5
    # One that is damaged, or lacks a name, is no harm.
    (key,) = [key for key in server.manifests if key[1].startswith("all-")]
    server.manifests[key] = ("application/json", b"{}")
    here.add(draft("b"), contents)
    assert len(Machine(server, tmp_path / "fourth").workspace.versions("model")) == 4


def test_who_may_only_read_lists_all_the_same(
    here: RegistryWorkspace, there: RegistryWorkspace, contents: list[Content], server: FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("packager.workspace.name_records.MANY", 0)
    version = here.add(draft(), contents)
    server.fail("POST", "blobs/uploads", Fault(status=403))
    assert there.versions("model") == (version,)
    assert not [tag for tag in tags(server, "workspace") if tag.startswith("all-")]


def test_a_list_without_index_heals_itself(
    here: RegistryWorkspace, there: RegistryWorkspace, contents: list[Content], server: FakeRegistry
) -> None:
    one = here.add(draft(tags={"a": "b"}), contents)
    for key in [key for key in server.manifests if "index" in key[1]]:
        server.manifests[key] = ("application/json", note("index", "nonsense", "x"))
    assert there.versions("model") == (one,)
    two = there.add(draft(), contents)
    assert here.versions("model") == (one, two)


def test_another_workspace_at_the_same_place_is_not_taken_for_the_one_before(
    here: RegistryWorkspace, server: FakeRegistry, tmp_path: Path, contents: list[Content]
) -> None:
    here.add(draft(tags={"old": "1"}), contents)
    here.versions("model")
    server.manifests.clear()
    server.blobs.clear()
    again = Machine(server, tmp_path / "here").workspace
    version = again.add(draft(), contents)
    last = Machine(server, tmp_path / "here").workspace
    assert last.versions("model") == (version,)
    assert last.get("model", "Iris_v2").tags == {}


def test_images_are_remembered(here: RegistryWorkspace, there: RegistryWorkspace, server: FakeRegistry) -> None:
    held = Held(name="a", version=1, digest="sha256:0")
    later = ImageRecord(reference="h/x:2", when="2026-02-01T00:00:00Z", models=(held,), pushed=True)
    here.note(later)
    there.note(ImageRecord(reference="h/x:1", when="2026-01-01T00:00:00Z"))
    assert [image.reference for image in here.images()] == ["h/x:1", "h/x:2"]
    assert there.images()[1] == later
    server.asked.clear()
    assert len(there.images()) == 2
    assert len(server.asked) == 1


# --- faults -----------------------------------------------------------------------------------------------------------


def test_a_newer_workspace_is_named(here: RegistryWorkspace, there: RegistryWorkspace, contents: list[Content]) -> None:
    text = json_text({"format": 2, "id": "x"})
    here._remote.put("workspace", "format", "format", text)
    for act in (lambda: there.versions("model"), lambda: there.add(draft(), contents), lambda: there.images()):
        with pytest.raises(ContextError, match="of a newer packager: its format is 2"):
            act()


def test_a_registry_that_answers_500_is_named(
    here: RegistryWorkspace, contents: list[Content], server: FakeRegistry
) -> None:
    here.add(draft(), contents)
    server.fail("GET", "tags", *[Fault(status=500)] * 5)
    with pytest.raises(TemporaryError, match="answers 500"):
        here.versions("model")
    server.fail("GET", "tags", *[Fault(status=500)] * 2)
    assert len(here.versions("model")) == 1


def test_an_upload_that_is_cut_goes_on(here: RegistryWorkspace, contents: list[Content], server: FakeRegistry) -> None:
    server.fail("PUT", "blobs/uploads", Fault(drop_after=3))
    version = here.add(draft(), contents)
    assert all(("ml/ws/models/x----49ris--5fv2", f"sha256:{each.sha256}") in server.blobs for each in version.files)


def test_a_blob_that_the_registry_forgot_is_named(
    here: RegistryWorkspace, there: RegistryWorkspace, contents: list[Content], server: FakeRegistry
) -> None:
    version = here.add(draft(), contents)
    weights = next(file for file in version.files if file.path.endswith("bin"))
    del server.blobs["ml/ws/models/x----49ris--5fv2", f"sha256:{weights.sha256}"]
    with pytest.raises(RegistryError, match=f"does not have sha256:{weights.sha256}"), there.open(version, weights):
        pass
    server.blobs["ml/ws/models/x----49ris--5fv2", f"sha256:{weights.sha256}"] = b"x" * weights.size
    with pytest.raises(RegistryError, match="sends other bytes"), there.open(version, weights):
        pass


PAGE = Fault(status=200, headers=(("Content-Type", "text/html"),), body=b"<html>Please log in</html>")


def test_a_page_to_log_in_is_no_answer(
    here: RegistryWorkspace, there: RegistryWorkspace, contents: list[Content], server: FakeRegistry
) -> None:
    here.add(draft(), contents)
    server.fail("GET", "tags/list", PAGE)
    with pytest.raises(RegistryError, match="something else than the tags"):
        there.get("model", "Iris_v2")
    server.fail("GET", "manifests/1$", PAGE)
    with pytest.raises(RegistryError, match="is no manifest"):
        there.get("model", "Iris_v2")
    server.fail("GET", "blobs/", PAGE)
    with pytest.raises(RegistryError, match="sends other bytes"):
        there.get("model", "Iris_v2")
    server.fail("GET", "manifests/format", PAGE)
    with pytest.raises(RegistryError, match="format is no manifest"):
        RegistryWorkspace(here.location, content=there._content).versions("model")


def test_a_token_that_ran_out_is_fetched_anew_and_shown_nowhere(
    here: RegistryWorkspace, contents: list[Content], server: FakeRegistry, tmp_path: Path
) -> None:
    log_in(tmp_path, server.address)
    server.token = "first-token"
    here.add(draft(), contents)
    server.token = "second-token"
    assert here.add(draft(), contents).version == 2
    denied = (b'{"errors": [{"code": "DENIED", "message": "token second-token of alice:s3cret ran out"}]}',)
    server.fail("GET", "tags/list", Fault(status=403, body=denied[0]))
    with pytest.raises(RegistryError) as caught:
        here.versions("model")
    assert "DENIED" in str(caught.value)
    assert "second-token" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_file_that_changes_while_it_is_sent_is_named(
    here: RegistryWorkspace, contents: list[Content], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = RegistryClient.upload

    def upload(self: RegistryClient, blob: Any, path: Path, *rest: Any) -> None:
        if path.name == "weights.bin":
            path.write_text("X" * blob.size)
        real(self, blob, path, *rest)

    monkeypatch.setattr(RegistryClient, "upload", upload)
    with pytest.raises(ContextError, match=r"weights\.bin changed since it was read"):
        here.add(draft(), contents)
    assert here.versions("model") == ()


def test_a_digest_that_is_said_is_held_against_the_file(here: RegistryWorkspace, contents: list[Content]) -> None:
    wrong = Content(path="a", origin=contents[0].origin, sha256="ab" * 32)
    with pytest.raises(ContextError, match="changed since it was read"):
        here.add(draft(), [wrong])


@pytest.mark.parametrize(
    ("wish", "paths", "error", "message"),
    [
        (draft("a/b"), ["a"], UsageError, "is no name"),
        (draft("A" * 60), ["a"], UsageError, "too long"),
        (draft(), [], ContextError, "nothing to register"),
        (draft(), ["a", "a"], ContextError, "two files of one path"),
        (draft(), ["../a"], ContextError, "leaves its folder"),
        (draft(tags={"a": "\x00"}), ["a"], UsageError, "control character"),
    ],
)
def test_what_cannot_be_registered_is_refused_before_anything_is_written(
    here: RegistryWorkspace, server: FakeRegistry, contents: list[Content], wish: Version, paths: list[str],
    error: type[PackagerError], message: str,
) -> None:  # fmt: skip
    with pytest.raises(error, match=message):
        here.add(wish, [Content(path=path, origin=contents[0].origin) for path in paths])
    assert {name for _, name in server.manifests if ":" not in name} <= {"format"}


# --- to other places --------------------------------------------------------------------------------------------------


def test_a_version_goes_to_another_place_without_being_sent(
    here: RegistryWorkspace, there: RegistryWorkspace, contents: list[Content], server: FakeRegistry, tmp_path: Path
) -> None:
    wish = draft(framework="Onnx", tags={"a": "b"}, properties={"by": "ci"}, description="what it is")
    version = here.add(wish, contents, files(tmp_path, "one.json"))
    pushed = push_version(
        there, there.get("model", "Iris_v2"), f"oci://{server.address}/else/where", content=there._content
    )
    assert isinstance(pushed, PushResult)
    assert pushed.references == (f"{server.address}/else/where:1",)
    assert pushed.digest == write_version(version, copy=True).digest
    assert (len(pushed.mounted), len(pushed.uploaded), pushed.bytes_sent) == (5, 0, 0)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    pulled = pull_artifact(f"oci://{server.address}/else/where:1", scratch, content=here._content)
    assert {each.path: each.origin.read_bytes() for each in pulled.files} == {
        each.path: each.origin.read_bytes() for each in contents
    }
    assert [each.path for each in pulled.samples] == ["one.json"]
    assert sorted(str(path.relative_to(pulled.folder)) for path in pulled.folder.rglob("*") if path.is_file()) == [
        "m/README.md", "m/empty", "m/weights.bin",
    ]  # fmt: skip
    assert pulled.draft.source == Source(uri=f"oci://{server.address}/else/where:1", revision=pushed.digest)
    assert (pulled.draft.name, pulled.draft.framework, pulled.draft.version) == ("Iris_v2", "Onnx", 0)
    assert (pulled.draft.description, pulled.draft.tags, pulled.draft.properties, pulled.draft.changes) == (
        "what it is", {"a": "b"}, {"by": "ci"}, 0,
    )  # fmt: skip
    fetched = fetch_reference(f"oci://{server.address}/else/where:1", scratch, lambda *_: pulled)
    assert (fetched.name, fetched.tags, fetched.properties) == ("Iris_v2", {"a": "b"}, {"by": "ci"})


def test_an_image_of_a_version_is_the_same_everywhere(
    here: RegistryWorkspace, there: RegistryWorkspace, contents: list[Content], server: FakeRegistry, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    version = here.add(draft(), contents)
    one = push_version(here, version, f"{server.address}/image:a", "image", content=here._content)
    two = push_version(there, version, f"{server.address}/image:b", "image", content=there._content)
    assert one.digest == two.digest
    assert two.bytes_sent == 0
    index = json.loads(server.manifests["image", "a"][1])
    assert [each["platform"]["architecture"] for each in index["manifests"]] == ["amd64", "arm64"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "third"))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    wish, folder = pull_reference(f"oci://{server.address}/image:a", scratch)
    assert wish.name == "Iris_v2"
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == {each.path: each.origin.read_bytes() for each in contents}


def test_a_reference_with_a_digest_is_nothing_to_push_to(here: RegistryWorkspace) -> None:
    version = draft(files=(File(path="a", size=1, sha256="ab" * 32),))
    with pytest.raises(UsageError, match="nobody can choose"):
        push_version(here, version, f"h.example/a@sha256:{'ab' * 32}")
    with pytest.raises(UsageError, match="a:1 names no registry"):
        push_version(here, version, "a:1")


def modelkit(server: FakeRegistry) -> dict[str, Any]:
    """Put a ModelKit as KitOps makes it into the registry, and return its manifest."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("model/weights.bin")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    config = json.dumps({"manifestVersion": "1.0.0", "package": {"name": "kit"}, "model": {"path": "model"}}).encode()
    blobs = [server.add("kits/one", data) for data in (config, buffer.getvalue(), b"raw")]
    kit = "application/vnd.kitops.modelkit"
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": f"{kit}.manifest.v1+json",
        "config": {"mediaType": f"{kit}.config.v1+json", "digest": blobs[0], "size": len(config)},
        "layers": [
            {"mediaType": f"{kit}.model.v1.tar+gzip", "digest": blobs[1], "size": len(buffer.getvalue())},
            {"mediaType": f"{kit}.docs.v1.raw", "digest": blobs[2], "size": 3,
             "annotations": {"org.cncf.model.filepath": "docs/README.md"}},
        ],
    }  # fmt: skip
    data = json.dumps(manifest).encode()
    server.manifests["kits/one", "1"] = (str(manifest["mediaType"]), data)
    return manifest


def test_a_modelkit_is_pulled(server: FakeRegistry, tmp_path: Path) -> None:
    modelkit(server)
    draft, folder = pull_reference(f"oci://{server.address}/kits/one:1", tmp_path)
    assert (draft.name, draft.framework) == ("kit", None)
    assert (folder / "model/weights.bin").read_bytes() == b"abc"
    assert (folder / "docs/README.md").read_bytes() == b"raw"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name in ("files", "unpacked", "samples")) == [
        "files"
    ]


def test_a_layer_of_other_bytes_than_its_digest_is_not_pulled(server: FakeRegistry, tmp_path: Path) -> None:
    manifest = modelkit(server)
    server.blobs["kits/one", manifest["layers"][1]["digest"]] = b"RAW"
    with pytest.raises(RegistryError, match="sends other bytes"):
        pull_reference(f"oci://{server.address}/kits/one:1", tmp_path)
    assert not (tmp_path / "files").exists()


def test_a_hostile_layer_leaves_nothing_behind(server: FakeRegistry, tmp_path: Path) -> None:
    manifest = modelkit(server)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("fine"))
        archive.addfile(tarfile.TarInfo("../../escaped"))
    digest = server.add("kits/one", buffer.getvalue())
    manifest["layers"][0].update(digest=digest, size=len(buffer.getvalue()))
    server.manifests["kits/one", "1"] = (manifest["mediaType"], json.dumps(manifest).encode())
    scratch = tmp_path / "deep" / "scratch"
    scratch.mkdir(parents=True)
    with pytest.raises(RegistryError, match="leaves its folder"):
        pull_reference(f"oci://{server.address}/kits/one:1", scratch)
    assert list(scratch.iterdir()) == []
    assert not list(tmp_path.rglob("escaped"))


def test_what_is_no_model_is_not_pulled(server: FakeRegistry, here: RegistryWorkspace, tmp_path: Path) -> None:
    here.note(ImageRecord(reference="x"))
    with pytest.raises(RegistryError, match="neither a ModelPack"):
        pull_reference(f"oci://{server.address}/ml/ws/workspace:format", tmp_path)
    with pytest.raises(RegistryError, match="there is no image"):
        pull_reference(f"oci://{server.address}/ml/none:1", tmp_path)
    assert not (tmp_path / "files").exists()
