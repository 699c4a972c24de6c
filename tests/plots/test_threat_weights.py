"""The picture of a training over several threats."""

from pathlib import Path

import pytest

from hauberk.plots import threat_weights


def row(stage: str, linf: float) -> dict[str, object]:
    seen = {"weight_linf": linf, "weight_l2": 1 - linf, "val_robust_linf": 0.5}
    return {"stage": stage, "epoch": 1, **seen}


def test_domains_are_those_with_weights() -> None:
    assert threat_weights.named([{"stage": "start"}, row("dense", 0.2)]) == ["linf", "l2"]
    assert threat_weights.named([{"stage": "dense", "robust": 0.3, "val_robust": 0.2}]) == []


def test_the_picture_takes_whatever_a_log_holds(tmp_path: Path) -> None:
    path = tmp_path / "threat-weights.png"
    threat_weights.draw([{"stage": "start"}, row("dense", 0.2), row("sparse", 0.9)], path)
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no threat weights"):
        threat_weights.draw([{"stage": "dense", "loss": 1.0}], path)
