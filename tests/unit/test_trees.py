from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from packager.plan.trees import Tree, TreeFile, make_tree, parent_of

PART = st.text("abc.-", min_size=1, max_size=3).filter(lambda part: part not in (".", ".."))
PATH = st.lists(PART, min_size=1, max_size=4).map("/".join)


def file(path: str, *, digest: str = "0" * 64, mode: int = 0o644, size: int = 1, origin: str = "x") -> TreeFile:
    return TreeFile(path=path, size=size, mode=mode, digest=digest, origin=origin)


def test_parents_become_folders_and_all_is_sorted() -> None:
    tree = make_tree([file("b/c/d"), file("a")], ["z/y"])
    assert [each.path for each in tree.files] == ["a", "b/c/d"]
    assert tree.folders == ("b", "b/c", "z", "z/y")
    assert tree.size == 2


def test_parent_of_the_top_is_empty() -> None:
    assert (parent_of("a"), parent_of("a/b/c")) == ("", "a/b")


@given(st.lists(PATH, max_size=8), st.lists(PATH, max_size=4), st.randoms(use_true_random=False))
def test_order_of_the_input_does_not_matter(paths: list[str], folders: list[str], random: object) -> None:
    files = [file(path) for path in dict.fromkeys(paths)]
    tree = make_tree(files, folders)
    assert make_tree(list(reversed(files)), list(reversed(folders))) == tree
    assert make_tree(list(reversed(files)), folders).digest == tree.digest
    for path in (*(each.path for each in tree.files), *tree.folders):
        assert parent_of(path) in ("", *tree.folders)


def test_digest_tells_every_difference_that_reaches_an_image() -> None:
    trees = [
        make_tree([file("a")]),
        make_tree([file("b")]),
        make_tree([file("a", mode=0o755)]),
        make_tree([file("a", digest="1" * 64)]),
        make_tree([file("a")], ["e"]),
        make_tree([], ["a"]),
        Tree(),
    ]
    assert len({tree.digest for tree in trees}) == len(trees)


def test_digest_does_not_depend_on_where_a_file_came_from() -> None:
    assert make_tree([file("a", origin="x/a")]).digest == make_tree([file("a", origin="y/b")]).digest


def test_below_moves_files_and_empty_folders_and_names_the_new_parents() -> None:
    moved = make_tree([file("a/b")], ["empty"]).below("var/app")
    assert [each.path for each in moved.files] == ["var/app/a/b"]
    assert moved.folders == ("var", "var/app", "var/app/a", "var/app/empty")
