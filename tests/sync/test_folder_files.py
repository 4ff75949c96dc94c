"""Files of a folder: which have changed, and moving them."""

import os
from pathlib import Path

import pytest

from onhook.lib.errors import UsageError
from onhook.sync import folder_files
from onhook.sync.folder_files import (
    FileChanges,
    FileMark,
    FileMemory,
    FolderContent,
    MovedFiles,
    find_mark,
    mark_of,
    move_files,
    open_file,
    read_mark,
    scan_folder,
    to_swept_file,
)


def test_scan_folder_has_files_that_have_changed_since_their_mark(tmp_path: Path) -> None:
    for name in ("a", "b", ".hidden"):
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "folder").mkdir()
    marks = {name: mark_of((tmp_path / name).stat()) for name in ("a", "b")}
    written_ns = {name: mark.written_ns for name, mark in marks.items()}
    assert scan_folder(tmp_path, marks) == FolderContent([], frozenset({"a", "b"}), written_ns)
    (tmp_path / "a").write_text("changed")
    (tmp_path / "b").unlink()
    written_ns = {"a": mark_of((tmp_path / "a").stat()).written_ns}
    assert scan_folder(tmp_path, marks) == FolderContent([tmp_path / "a"], frozenset(), written_ns)


def test_scan_folder_says_when_a_file_of_each_series_was_last_written(tmp_path: Path) -> None:
    for name, seconds in (("cdr.log", 3), ("CDR-2.log", 7), ("cdr.log.1", 2), ("notes", 5), ("20.log", 1)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (seconds, seconds))
    written_ns = scan_folder(tmp_path, {}).written_ns
    assert {name: time_ns // 10**9 for name, time_ns in written_ns.items()} == {"cdr": 7, "notes": 5, "": 1}


def test_file_memory_has_what_changed_since_the_last_time() -> None:
    """Names that are not UTF-8 are left out, and what was never stored is not removed."""
    memory = FileMemory()
    memory.restore(["old"])
    first, second, other = (to_swept_file(name, FileMark(1, 2, 3)) for name in ("a", "b", "\udcff"))
    for file in (first, second, other):
        memory.add(file)
    memory.remove("a")
    memory.remove("old")
    assert memory.take() == FileChanges([second], frozenset({"old"}))
    memory.remove("old")
    memory.remove("b")
    memory.add(first)
    assert memory.take() == FileChanges([first], frozenset({"b"}))
    memory.remove("a")
    memory.add(first)
    assert memory.take() == FileChanges([first], frozenset())
    assert memory.take() == FileChanges([], frozenset())
    assert read_mark(first) == FileMark(1, 2, 3)


def test_scan_folder_with_too_many_stored_files_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_files, "UNCHANGED_FILES_MAX", 0)
    (tmp_path / "a").touch()
    with pytest.raises(UsageError, match="more than 0 stored files"):
        scan_folder(tmp_path, {"a": mark_of((tmp_path / "a").stat())})


def test_open_file_follows_neither_link_nor_pipe(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a file"):
        open_file(tmp_path / "pipe")
    with pytest.raises(OSError, match="symbolic links"):
        open_file(tmp_path / "link")


def test_move_files_replaces_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PBX may begin a file of the same name each day."""
    monkeypatch.setattr(folder_files, "MOVED_NAMES_MAX", 2)
    target = tmp_path / "stored"
    for text in ("first", "second"):
        (tmp_path / "cdr.log").write_text(text)
        move_files([tmp_path / "cdr.log"], target)
    assert {path.name: path.read_text() for path in target.iterdir()} == {"cdr.log": "first", "cdr.log.1": "second"}
    (tmp_path / "cdr.log").touch()
    with pytest.raises(UsageError, match="too many files with the name"):
        move_files([tmp_path / "cdr.log"], target)


def test_move_files_to_their_own_folder_is_an_error(tmp_path: Path) -> None:
    """Under another name of the folder: they would have another name with each sweep."""
    (tmp_path / "calls").mkdir()
    (tmp_path / "calls" / "a").touch()
    (tmp_path / "link").symlink_to(tmp_path / "calls")
    with pytest.raises(UsageError, match="in the folder from which they are moved"):
        move_files([tmp_path / "calls" / "a"], tmp_path / "link")
    assert (tmp_path / "calls" / "a").exists()


def test_scan_folder_file_that_is_gone_meanwhile_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).touch()
    marks = {name: mark_of((tmp_path / name).stat()) for name in ("a", "b")}

    def mark(status: os.stat_result) -> object:
        for name in ("a", "b"):
            (tmp_path / name).unlink(missing_ok=True)
        return mark_of(status)

    monkeypatch.setattr(folder_files, "mark_of", mark)
    assert len(scan_folder(tmp_path, marks).unchanged) == 1


def test_moved_files_are_the_newest_thousand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more the oldest is looked at no longer."""
    monkeypatch.setattr(folder_files, "MOVED_FILES_MAX", 2)
    moved_files, target = MovedFiles(), tmp_path / "stored"
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path in paths:
        path.touch()
    for _look in range(2):
        marks = [mark_of(path.stat()) for path in paths]
        moved_files.add(paths, move_files(paths, target), marks, 0.0)
        assert moved_files.return_changed(0.0) is None
        for path in paths:
            with (target / path.name).open("a") as file:
                file.write("more")
        assert moved_files.return_changed(0.0) is None
        assert [path.exists() for path in paths] == [False, True, True]
        move_files([target / "a"], tmp_path)


def test_moved_file_that_cannot_be_moved_back_is_tried_again_after_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after the time in which moved files are looked at."""
    moved_files, target = MovedFiles(), tmp_path / "stored"
    paths = [tmp_path / name for name in ("a", "b")]
    for path in paths:
        path.touch()
    moved_paths = move_files(paths, target)
    moved_files.add(paths, moved_paths, [mark_of(path.stat()) for path in moved_paths], 0.0)
    for path in target.iterdir():
        path.write_text("more")
    with monkeypatch.context() as patch:
        patch.setattr(folder_files, "MOVED_NAMES_MAX", 1)
        paths[0].touch()
        for _attempt in range(2):
            error = moved_files.return_changed(folder_files.MOVED_SECONDS + 1)
            assert error is not None
            assert "too many files with the name a" in str(error)
            assert paths[1].read_text() == "more"
    paths[0].unlink()
    assert moved_files.return_changed(folder_files.MOVED_SECONDS + 1) is None
    assert paths[0].read_text() == "more"
    assert find_mark(target / "a") is None
