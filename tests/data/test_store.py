"""Data larger than memory: decoded once into a mapped file, and the same to the bit."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.helpers.pictures import encoded, paint, write, zoo
from torch.utils.data import Dataset, IterableDataset

from hauberk.cli import main
from hauberk.data import load, store
from hauberk.data.store import NoRoom, Store
from hauberk.dataset import Data
from hauberk.runtime import memory
from hauberk.runtime.memory import mapped


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where pixels lie that do not fit in memory."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def pictures(count: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 5, 4), np.uint8)


def folder(root: Path) -> Path:
    for i, image in enumerate(pictures()):
        paint(root / "abc"[i % 3] / f"{i:02}.png", image)
    return root


def with_test(root: Path) -> Path:
    return zoo(zoo(root, place="train"), 4, place="test")


def widened_within(root: Path) -> Path:
    """Gray images, then one in colours."""
    paint(zoo(root) / "cow" / "zz.png", np.full((5, 4, 3), (1, 2, 3), np.uint8))
    return root


def widened_between(root: Path) -> Path:
    """A gray training split beside a test split in colours."""
    return zoo(zoo(root, place="train"), 3, (5, 4, 3), place="test")


def corrupt(root: Path) -> Path:
    for name in ("ant/00.png", "cow/05.png"):
        (zoo(root) / name).write_bytes(b"no image")
    return root


def parquet(root: Path) -> Path:
    root.mkdir()
    return write(root / "a.parquet", [encoded(i) for i in pictures()], [0, 1, 2] * 20)


def npz(root: Path) -> Path:
    root.mkdir()
    np.savez_compressed(root / "a.npz", x=pictures(), y=np.arange(60) % 3)
    return root / "a.npz"


def npz_of_floats(root: Path) -> Path:
    root.mkdir()
    x = (pictures(80) / 255).astype(np.float32)
    y = np.arange(80) % 3
    np.savez(root / "a.npz", x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
    return root / "a.npz"


class Stream(IterableDataset[Any]):
    """Does not know its length: its pile grows."""

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        yield from zip(pictures(), [0, 1, 2] * 20, strict=True)


class Floats(Dataset[Any]):
    def __len__(self) -> int:
        return 60

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(pictures()[i] / 255).float(), i % 3


SOURCES: dict[str, Callable[[Path], Any]] = {
    "folder": folder,
    "folder with a test split": with_test,
    "gray and colours": widened_within,
    "gray splits and coloured ones": widened_between,
    "corrupt images": corrupt,
    "parquet": parquet,
    "npz": npz,
    "npz of floats": npz_of_floats,
    "stream": lambda _: Stream(),
    "floats": lambda _: Floats(),
    "arrays": lambda _: (pictures(), np.arange(60) % 3),
}


def parts(data: Data) -> list[Any]:
    return [data.train, data.validation, data.test]


@pytest.mark.parametrize("name", SOURCES)
def test_streamed_data_are_the_same_to_the_bit(tmp_path: Path, scratch: Path, name: str) -> None:
    source = SOURCES[name](tmp_path / "data")
    resident = load(source, on_error="skip")
    streamed = load(source, on_error="skip", memory=0)
    assert all(mapped(part.x) for part in parts(streamed) if len(part))
    assert not any(mapped(part.x) for part in parts(resident))
    for a, b in zip(parts(resident), parts(streamed), strict=True):
        assert torch.equal(a.x, b.x) and torch.equal(a.y, b.y) and a.x.dtype == b.x.dtype
    *notes, where = streamed.notes
    assert (list(resident.notes), resident.labels) == (notes, streamed.labels)
    assert str(scratch) in where and "exceed the memory limit of 0 bytes" in where
    assert not list(scratch.iterdir())  # the file has no name from the start


def test_a_user_s_arrays_stay_as_they_are(scratch: Path) -> None:
    x, before = pictures(), pictures()
    for limit in (0, None):
        load((x, np.arange(60) % 3), memory=limit)
        assert np.array_equal(x, before)


def test_a_user_s_own_map_is_read_where_it_is(tmp_path: Path, scratch: Path) -> None:
    np.save(tmp_path / "x.npy", pictures())
    np.save(tmp_path / "f.npy", (pictures() / 255).astype(np.float32))
    y = np.arange(60) % 3
    for name in ("x", "f"):
        x = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
        data = load(((x, y), (x, y), (x, y)))
        assert data.train.x.data_ptr() == x.ctypes.data  # type: ignore[union-attr]
        carved = load((x, y), memory=0)
        assert mapped(carved.train.x) and torch.equal(carved.train.x, load((x, y)).train.x)


@pytest.mark.parametrize("shape", [b"(90, 5, 4)", b"(9**9,5,4)", b"(-1,-5, 4)", b"(12, 5, 4)"])
def test_an_array_of_a_false_length_is_named(tmp_path: Path, scratch: Path, shape: bytes) -> None:
    np.savez(tmp_path / "a.npz", x=pictures(), y=np.arange(60) % 3)
    with zipfile.ZipFile(tmp_path / "a.npz") as right:
        members = {name: right.read(name) for name in right.namelist()}
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as wrong:
        for name, content in members.items():
            wrong.writestr(name, content.replace(b"(60, 5, 4)", shape))
    with pytest.raises(ValueError, match=r"not a readable \.npz") as caught:
        load(tmp_path / "b.npz")
    assert "\n" not in str(caught.value)


def test_splits_are_in_memory_while_they_fit(tmp_path: Path, scratch: Path) -> None:
    with_test(tmp_path / "zoo")
    for limit, on_disk in ((600 + 240, 0), (600 + 239, 1), (599, 1), (239, 2)):
        data = load(tmp_path / "zoo", memory=limit)  # 30 and 12 images of 20 bytes
        assert sum(mapped(part.x) for part in (data.train, data.test)) == on_disk


@pytest.mark.parametrize(("said", "limit"), [(None, 500), ("1", 500), ("4", 125), ("", 500)])
def test_processes_of_one_machine_share_its_memory(
    said: str | None, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if said is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", said)
    monkeypatch.setattr(memory, "free", lambda: 1000)
    assert Store().limit == limit and Store(70).limit == 70


@given(st.lists(st.integers(0, 255), min_size=1, max_size=40), st.data())
@settings(max_examples=40, deadline=None)
def test_rows_are_rearranged_in_place(values: list[int], draw: st.DataObject) -> None:
    n = len(values)
    order = torch.tensor(draw.draw(st.permutations(range(n))))
    stay = draw.draw(st.integers(0, n))
    order[:stay] = order[:stay].sort().values
    for limit in (0, 10**6):
        held = Store(limit)
        x = held.empty((n, 3), torch.uint8)
        x[:] = torch.tensor(values, dtype=torch.uint8)[:, None] + torch.arange(3).byte()
        wanted, place = x[order].clone(), x.data_ptr()
        copy = held.arranged(x, order, stay, own=False)
        assert torch.equal(copy, wanted) and copy.data_ptr() != place
        moved = held.arranged(x, order, stay, own=True)
        assert torch.equal(moved, wanted) and moved.data_ptr() == place


def test_long_stretches_move_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_CHUNK", 64)
    held, rng = Store(0), torch.Generator().manual_seed(0)
    x = held.empty((500, 1, 3, 3), torch.uint8)
    x[:] = torch.arange(500 * 9).view(500, 1, 3, 3).byte()
    order = torch.randperm(500, generator=rng)
    order[:400] = order[:400].sort().values
    wanted, wide = x[order].clone(), held.widened(x)
    assert torch.equal(wide, x.repeat(1, 3, 1, 1))
    assert torch.equal(held.arranged(x, order, 400, own=True), wanted)
    assert torch.equal(held.grown(x, 900)[:500], wanted)


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="a system without it")
@pytest.mark.parametrize("name", ["folder", "parquet", "npz", "stream", "arrays"])
def test_a_full_disk_is_one_sentence(
    tmp_path: Path, scratch: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SOURCES[name](tmp_path / "data")
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(NoRoom, match=r"No space left.*TMPDIR.*--memory") as caught:
        load(source, memory=0)
    assert "\n" not in str(caught.value) and str(scratch) in str(caught.value)
    assert not list(scratch.iterdir())


def test_more_than_any_disk_holds_is_known_before_a_byte_is_written(scratch: Path) -> None:
    with pytest.raises(NoRoom, match="1126 TB"):
        Store(0).empty((1 << 20, 1 << 15, 1 << 15), torch.uint8)
    assert not list(scratch.iterdir())


def test_a_folder_that_cannot_be_written_is_named_by_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit) as stop:
        main.main(["data", str(folder(tmp_path / "zoo")), "--memory", "1B"])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and "nowhere" in said and said.count("\n") == 1


@pytest.mark.parametrize("text", ["0", "-1GB", "lots", "150%"])
def test_a_limit_that_is_none_is_one_sentence(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main.main(["data", "digits", "--memory", text])
    assert stop.value.code == 2 and "such as 4GB" in capsys.readouterr().err
    with pytest.raises(ValueError, match="give 0 or more"):
        load("digits.npz", memory=-1)


def test_images_of_differing_sizes_are_named_as_ever(tmp_path: Path, scratch: Path) -> None:
    paint(zoo(tmp_path / "zoo") / "cow" / "x.png", np.zeros((5, 5), np.uint8))
    with pytest.raises(ValueError, match=r"cow/x\.png"):
        load(tmp_path / "zoo", memory=0)


LOADING = """
    import sys, threading, time
    from pathlib import Path
    import hauberk.data.load, pyarrow, PIL.PngImagePlugin
    from hauberk.data import load

    def taken():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024

    def watch():
        while not done:
            most.append(taken())
            time.sleep(0.005)

    done, before = [], taken()
    most = [before]
    thread = threading.Thread(target=watch)
    thread.start()
    data = load(sys.argv[1], memory=int(sys.argv[2]))
    done.append(1)
    thread.join()
    print(max(most) - before, sum(int(p.x[::9].sum()) for p in (data.train, data.test)))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux")
def test_loading_takes_no_more_memory_than_it_may(tmp_path: Path, scratch: Path) -> None:
    """120 MB of pixels; what is in flight between the decoders and the file is 32 MB."""
    for i in range(300):
        image = Image.new("RGB", (365, 365), (i % 256, 0, 0))
        paint(tmp_path / "zoo" / "train" / "ab"[i % 2] / f"{i:03}.png", image)
    script = tmp_path / "load.py"
    script.write_text(textwrap.dedent(LOADING))
    took = {}
    for limit in (1_000_000, 10**9):
        words = [sys.executable, str(script), str(tmp_path / "zoo"), str(limit)]
        out = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
        took[limit] = (float(out[0]), out[1])
    (streamed, a), (resident, b) = took.values()
    assert a == b and streamed < 80 and resident > 110
