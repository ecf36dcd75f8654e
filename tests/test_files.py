"""Replacing files: whole or not at all, and nothing left beside them."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hdpainter_nb.utils import files
from hdpainter_nb.utils.files import replacing
from hdpainter_nb.views import gif, save_png

posix = pytest.mark.skipif(os.name != "posix", reason="modes and links as POSIX has them")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask() -> Iterator[int]:
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def test_a_file_is_made_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for text in ("first", "second"):
        with replacing(path) as part:
            assert part.parent == tmp_path
            part.write_text(text)
            assert not path.exists() or path.read_text() == "first"
        assert path.read_text() == text
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [OSError("disk full"), ValueError("x"), KeyboardInterrupt()])
@pytest.mark.parametrize("before", [None, "the old one"])
def test_a_writer_that_fails_half_way_leaves_what_was_there(
    tmp_path: Path, error: BaseException, before: str | None
) -> None:
    path = tmp_path / "a.txt"
    if before is not None:
        path.write_text(before)

    def write() -> None:
        with replacing(path) as part:
            part.write_text("half a")
            raise error

    with pytest.raises(type(error)) as raised:
        write()
    assert raised.value is error
    assert names(tmp_path) == ([] if before is None else ["a.txt"])
    assert before is None or path.read_text() == before


def test_a_missing_folder_is_named_and_not_the_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "no such" / "a.txt"
    with pytest.raises(FileNotFoundError, match="there is no folder") as raised, replacing(path):
        pytest.fail("there is nowhere to write")
    assert raised.value.filename == str(path)
    assert str(path.parent) in str(raised.value)
    assert ".part" not in str(raised.value)
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError), replacing(tmp_path / "file" / "a.txt"):
        pytest.fail("there is nowhere to write")


def test_a_folder_that_takes_no_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> int:
        raise PermissionError(13, "Permission denied", "the temporary file")

    monkeypatch.setattr("hdpainter_nb.utils.files.os.open", refuse)
    path = tmp_path / "a.txt"
    with pytest.raises(PermissionError, match=re.escape(f"written in {tmp_path}")) as raised:
        replacing(path).__enter__()
    assert raised.value.filename == str(path)


def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder"), replacing(tmp_path):
        pytest.fail("a folder would be replaced")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match="no regular file"), replacing(tmp_path / "pipe"):
            pytest.fail("a pipe would be replaced")
        assert names(tmp_path) == ["pipe"]
    with pytest.raises(OSError, match="no regular file"), replacing(os.devnull):
        pytest.fail("a device would be replaced")


@posix
def test_a_link_stays_one_and_its_file_is_replaced(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(Path("there") / "a.txt")  # which is yet to come
    for text in ("first", "second"):
        with replacing(link) as part:
            part.write_text(text)
        assert link.is_symlink()
        assert (there / "a.txt").read_text() == text
    assert names(there) == ["a.txt"]
    link.unlink()
    link.symlink_to(link)
    with pytest.raises((OSError, RuntimeError)), replacing(link):
        pytest.fail("a link to itself leads nowhere")


@posix
def test_a_link_under_the_temporary_name_is_never_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdpainter_nb.utils.files.secrets.token_hex", lambda _: "guessed")
    (tmp_path / "precious").write_text("whole")
    with replacing(tmp_path / "a.txt") as part:
        pass
    part.symlink_to(tmp_path / "precious")
    with pytest.raises(FileExistsError), replacing(tmp_path / "a.txt"):
        pytest.fail("it is somebody else's")
    assert (tmp_path / "precious").read_text() == "whole"


@posix
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o444])
def test_a_file_keeps_its_permissions(tmp_path: Path, umask: int, mode: int) -> None:
    path = tmp_path / "a.txt"
    path.write_text("first")
    path.chmod(mode)
    with replacing(path) as part:
        assert mode_of(part) == 0o600, "others may not have been meant to read it"
        part.write_text("second")
    assert mode_of(path) == mode


@posix
def test_a_new_file_gets_the_usual_permissions(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as part:
        part.unlink()  # as writers do that make a file of their own and rename it
        part.touch(0o600)
    assert mode_of(path) == 0o666 & ~umask


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as outer:
        outer.write_text("outer, ")
        with replacing(path) as inner:
            inner.write_text("inner")
        assert path.read_text() == "inner"
        with outer.open("a") as file:
            file.write("whole")
    assert path.read_text() == "outer, whole"
    assert names(tmp_path) == ["a.txt"]


@posix
def test_what_killed_writers_leave_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("whole")
    script = (
        "import os, signal, sys\n"
        "from hdpainter_nb.utils.files import replacing\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0:\n"
        "        with replacing(sys.argv[1]) as part:\n"
        "            part.write_text('half')\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "    os.wait()\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, env=environment)
    assert len(names(tmp_path)) >= 2, "a killed process cannot tidy up"
    assert path.read_text() == "whole"
    other = tmp_path / ".b.00000000-1.0123456789abcdef.part"
    other.write_text("of another machine")
    monkeypatch.setattr(files, "_swept", {})
    with replacing(path) as mine, replacing(path) as second:
        second.write_text("second")
        mine.write_text("first")
        assert len(names(tmp_path)) == 4, "what is being written stays"
    assert names(tmp_path) == [other.name, "a.txt"]
    assert path.read_text() == "first"


def test_a_name_as_long_as_can_be(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 120 + ".hdp")  # 244 bytes of 255
    with replacing(path) as part:
        part.write_text("x")
    assert path.read_text() == "x"


# --- who uses it ---------------------------------------------------------------------------------


def picture(value: int) -> np.ndarray:
    return np.full((16, 16, 3), value, np.uint8)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.png", lambda path: save_png(picture(9), path)),
        ("a.gif", lambda path: gif([picture(9), picture(99)], path)),
    ],
)
def test_an_old_picture_stays_until_the_new_one_is_complete(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    write: Callable[[Path], Path],
) -> None:
    path = write(tmp_path / name)
    before = path.read_bytes()

    def full(_self: Image.Image, file: Path, *_: Any, **__: Any) -> None:
        Path(file).write_bytes(before[:20])
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="disk full"):
        write(path)
    assert path.read_bytes() == before
    assert names(tmp_path) == [name]


def test_weights_and_checkpoints_of_the_miniature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    from hdpainter_nb.mini import oracle, train_vae
    from hdpainter_nb.mini.training import learner, writing

    def full(_: Any, file: Path, *__: Any, **___: Any) -> None:
        Path(file).write_bytes(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr("torch.save", full)
    for module in (oracle, writing):
        monkeypatch.setattr(module, "save_file", full)
    net = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    trainee = object.__new__(learner.Learner)
    vars(trainee).update(networks={"net": net}, parameters=[*net.parameters()], ema=[], step=1)
    vars(trainee).update(seen=1, optimizer=optimizer, checkpoint=tmp_path / "net.pt")
    vars(trainee)["ema"] = [p.detach().clone() for p in net.parameters()]
    writers: list[Callable[[], None]] = [
        lambda: writing.put(net.state_dict(), tmp_path / "net.safetensors"),
        lambda: oracle.save(net, tmp_path / "oracle.safetensors"),  # type: ignore[arg-type]
        lambda: train_vae._save(tmp_path / "vae.pt", net, optimizer, 1),  # type: ignore[arg-type]
        trainee.save,
    ]
    for write in writers:
        with pytest.raises(OSError, match="disk full"):
            write()
        assert names(tmp_path) == []
