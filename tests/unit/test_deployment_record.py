"""Files that people own: what is written over, what is kept, and what goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from packager.deployment.files import record_in, texts_in, write_changes
from packager.deployment.record import (
    REMEMBERED,
    FileChange,
    Record,
    Shipped,
    decide,
    difference,
    next_record,
    read_record,
    record_text,
    remembered,
    rolled_back,
    shipped_of,
)
from packager.deployment.workload import Manifest, Wishes, Workload
from packager.errors import ContextError, UsageError
from tests.unit.kubernetes_workloads import PLAIN


def workload(number: int) -> Workload:
    image = f"registry.example.com/team/churn:{number}@sha256:{number:064x}"
    return msgspec.structs.replace(PLAIN, image=image, version=str(number))


def made(number: int, size: str = "1Gi") -> tuple[Manifest, ...]:
    """The files of an image: one names it in each form, one does not."""
    shipped = shipped_of(workload(number))
    name, _, digest = shipped.image.partition("@")
    text = (
        f"image: {shipped.image}\nagain: {name.rpartition(':')[0]}@{digest}\nid: {digest}\nmemory: {size}\n"
        f'app.kubernetes.io/version: "{number}"\nnumber: {number}00\n'
    ).replace(f"number: {number}00", "number: 100")
    return (Manifest(path="deployment.yaml", text=text), Manifest(path="service.yaml", text="port: 80\n"))


def recorded(number: int, record: Record | None = None, **wishes: Any) -> Record:
    return next_record(record, workload(number), "kubernetes", Wishes(**wishes), made(number))


def texts(manifests: tuple[Manifest, ...]) -> dict[str, str | None]:
    return {each.path: each.text for each in manifests}


def decided(record: Record | None, there: dict[str, str | None], number: int, size: str = "1Gi", **how: bool) -> Any:
    changes = decide(record, there, made(number, size), shipped_of(workload(number)), **how)
    return {each.path: (each.kind, each.after) for each in changes}


def test_files_are_new_and_then_the_same() -> None:
    assert [kind for kind, _ in decided(None, {}, 1).values()] == ["new", "new"]
    assert [kind for kind, _ in decided(recorded(1), texts(made(1)), 1).values()] == ["same", "same"]


def test_what_nobody_edited_is_written_anew() -> None:
    found = decided(recorded(1), texts(made(1)), 2, "2Gi")
    assert found["deployment.yaml"] == ("changed", made(2, "2Gi")[0].text)
    assert found["service.yaml"][0] == "same"


def test_an_edit_stays_where_packager_would_write_what_it_wrote() -> None:
    edited = {**texts(made(1)), "deployment.yaml": f"{made(1)[0].text}# mine\n"}
    assert decided(recorded(1), edited, 1)["deployment.yaml"] == ("edited", edited["deployment.yaml"])


def test_of_an_edited_file_the_image_alone_is_renewed() -> None:
    edited = {**texts(made(1)), "deployment.yaml": made(1)[0].text.replace("1Gi", "3Gi")}
    kind, after = decided(recorded(1), edited, 2)["deployment.yaml"]
    assert kind == "renewed"
    assert after == made(2)[0].text.replace("1Gi", "3Gi")
    assert "number: 100" in after, "a number that happens to be the version is none"


def test_an_edit_is_never_written_over_unless_that_is_asked_for() -> None:
    edited = {**texts(made(1)), "deployment.yaml": f"{made(1)[0].text}# mine\n"}
    with pytest.raises(ContextError, match=r"somebody edited deployment\.yaml, and packager would write"):
        decided(recorded(1), edited, 1, "2Gi")
    assert decided(recorded(1), edited, 1, "2Gi", refuse=False)["deployment.yaml"][0] == "conflict"
    assert decided(recorded(1), edited, 1, "2Gi", force=True)["deployment.yaml"] == ("changed", made(1, "2Gi")[0].text)


def test_a_file_that_packager_did_not_make_is_in_the_way() -> None:
    with pytest.raises(ContextError, match=r"service\.yaml"):
        decided(None, {"service.yaml": "theirs\n"}, 1)
    with pytest.raises(ContextError, match=r"service\.yaml"):
        decided(msgspec.structs.replace(recorded(1), files={}), {"service.yaml": "theirs\n"}, 1)


def test_what_is_not_made_any_more_goes_unless_somebody_edited_it() -> None:
    extra = (*made(1), Manifest(path="ingress.yaml", text="host: a\n"))
    record = next_record(None, workload(1), "kubernetes", Wishes(), extra)
    assert decided(record, texts(extra), 1)["ingress.yaml"] == ("removed", None)
    edited = {**texts(extra), "ingress.yaml": "host: b\n"}
    assert decided(record, edited, 1)["ingress.yaml"] == ("left", "host: b\n")
    assert "ingress.yaml" not in decided(record, texts(made(1)), 1)


def test_images_are_remembered_the_newest_first_and_each_once() -> None:
    record = None
    for number in (1, 2, 3, 2, *range(4, 20)):
        record = recorded(number, record)
    assert record is not None
    versions = [each.version for each in record.images]
    assert versions == [str(number) for number in range(19, 19 - REMEMBERED, -1)]
    record = recorded(2, recorded(3, recorded(2, recorded(1))))
    assert [each.version for each in record.images] == ["2", "3", "1"]


def test_what_was_asked_for_holds_until_something_else_is() -> None:
    record = recorded(1, namespace="models", canary_percent=20)
    assert record.wishes == {"namespace": "models", "canary_percent": 20}
    assert remembered(Wishes(host="a.example.com"), (), record) == Wishes(
        namespace="models", canary_percent=20, host="a.example.com"
    )
    assert remembered(Wishes(), ("namespace",), record) == Wishes(canary_percent=20)
    with pytest.raises(ContextError, match="canary_percent"):
        remembered(Wishes(), (), msgspec.structs.replace(record, wishes={"canary_percent": "x"}))


def test_a_rollback_puts_the_image_of_before_into_files_edited_or_not_and_a_second_one_undoes_it() -> None:
    record = recorded(2, recorded(1))
    edited = {**texts(made(2)), "deployment.yaml": made(2)[0].text.replace("1Gi", "3Gi"), "other.yaml": "mine\n"}
    back, changes = rolled_back(record, edited)
    after = {each.path: each.after for each in changes}
    assert after == {
        "deployment.yaml": made(1)[0].text.replace("1Gi", "3Gi"),
        "service.yaml": "port: 80\n",
    }
    assert [each.version for each in back.images] == ["1", "2"]
    again, changes = rolled_back(back, after)
    assert {each.path: each.after for each in changes}["deployment.yaml"] == edited["deployment.yaml"]
    assert again == record
    # What is rolled back is as packager made it, so that the next image is written.
    _, changes = rolled_back(record, texts(made(2)))
    assert decided(back, {each.path: each.after for each in changes}, 3)["deployment.yaml"][0] == "changed"


def test_a_file_that_somebody_took_away_keeps_no_other_from_going_back() -> None:
    record = recorded(2, recorded(1))
    _, changes = rolled_back(record, {"service.yaml": None, **texts(made(2)[:1])})
    assert {each.path: each.after for each in changes} == texts(made(1)[:1])


def test_there_is_nothing_to_go_back_to_after_the_first_image() -> None:
    with pytest.raises(UsageError, match="never named another image"):
        rolled_back(recorded(1), texts(made(1)))


def test_an_image_of_this_machine_is_renewed_too() -> None:
    old, new = (Shipped(image=f"sha256:{number:064x}", version="1") for number in (1, 2))
    record = msgspec.structs.replace(recorded(1), images=(old,), files={})
    text = f"image: {old.image}\n"
    record = msgspec.structs.replace(record, images=(new, old), files=dict.fromkeys(["a"], ""), platform="compose")
    _, (change,) = rolled_back(record, {"a": text.replace(old.image, new.image)})
    assert change.after == text


def test_the_difference_is_a_unified_diff() -> None:
    shown = difference(decide(recorded(1), {**texts(made(1)), "service.yaml": None}, made(2), shipped_of(workload(2))))
    assert "--- a/deployment.yaml\n+++ b/deployment.yaml\n" in shown
    assert "--- /dev/null\n+++ b/service.yaml\n@@ -0,0 +1 @@\n+port: 80\n" in shown
    assert difference([FileChange(path="a", kind="same", before="b", after="b")]) == ""
    ended = difference([FileChange(path="a", kind="changed", before="b", after="c\n")])
    assert "-b\n\\ No newline at end of file\n+c\n" in ended


def test_a_record_is_read_as_it_was_written() -> None:
    record = recorded(2, recorded(1), namespace="models")
    assert read_record(record_text(record), "here") == record


@pytest.mark.parametrize(
    "change",
    [
        {"format": "packager.deploy/2"},
        {"files": {"../../outside": "0"}},
        {"files": {"/etc/passwd": "0"}},
        {"files": {"a/../b": "0"}},
        {"images": []},
        {"images": "x"},
    ],
)
def test_a_record_that_is_not_ours_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ContextError):
        read_record(json.dumps({**json.loads(record_text(recorded(1))), **change}), "here")


def test_a_folder_is_written_and_read(tmp_path: Path) -> None:
    folder = tmp_path / "deploy/kubernetes"
    assert record_in(folder) is None
    changes = decide(None, texts_in(folder, ["service.yaml"]), made(1), shipped_of(workload(1)))
    write_changes(folder, changes, recorded(1))
    assert record_in(folder) == recorded(1)
    assert texts_in(folder, ["deployment.yaml", "none.yaml"]) == {
        "deployment.yaml": made(1)[0].text,
        "none.yaml": None,
    }
    write_changes(folder, [FileChange(path="service.yaml", kind="removed", before="", after=None)], recorded(1))
    assert not (folder / "service.yaml").exists()


def test_a_file_is_not_read_from_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_text("s")
    (folder / "deployment.yaml").symlink_to(tmp_path / "secret")
    with pytest.raises(ContextError, match="leads out"):
        texts_in(folder, ["deployment.yaml"])
