import pytest
import torch

from hauberk.training import checkpoint


def test_round_trip_of_nested_values(tmp_path) -> None:
    tree = {
        "a": torch.arange(3.0),
        "state": {0: {"step": torch.tensor(4.0), "n": 3}, 1: {}},
        "groups": [{"lr": 0.1, "params": [0, 1]}, None, True, "x"],
        "empty": torch.empty(0, dtype=torch.bool),
    }
    checkpoint.save(tmp_path / "c.safetensors", tree)
    back = checkpoint.load(tmp_path / "c.safetensors")
    assert torch.equal(back["a"], tree["a"]) and back["groups"] == tree["groups"]
    assert back["state"][0]["step"] == 4 and back["state"][0]["n"] == 3
    assert back["empty"].dtype == torch.bool


def test_nothing_half_written_when_the_disk_is_full(tmp_path, monkeypatch) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"a": torch.ones(2)})
    before = path.read_bytes()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="could not be written"):
        checkpoint.save(path, {"a": torch.zeros(2000)})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


def test_a_checkpoint_cannot_run_code(tmp_path) -> None:
    import pickle

    class Evil:
        def __reduce__(self):
            return (print, ("owned",))

    path = tmp_path / "c.safetensors"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="no readable checkpoint"):
        checkpoint.load(path)
