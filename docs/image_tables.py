"""The tables of networks from images to images, each from one record in ``benchmarks/results``."""

from __future__ import annotations

from typing import Any

from table_text import Table, finished, results, table, title


def generators() -> str:
    """A CycleGAN generator, slimmed."""
    rows = finished("gan_slimming")
    head = ["row", "bytes", "parameters", "PSNR, dB (95%)", "MSE", "SSIM", "GMACs", "of dense ms"]
    return table(head, (_generator(row) for row in rows.values()))


def _generator(row: dict[str, Any]) -> list[str]:
    found = row["to_teacher"]
    low, high = found["psnr"]["ci95"]
    same = row["name"] == "dense"
    return [
        title(row["name"]),
        f"{row['bytes']:,}",
        f"{row['parameters']:,}",
        "–" if same else f"{found['psnr']['value']:.2f} ({low:.2f}–{high:.2f})",
        "–" if same else f"{found['mse']['value']:.2g}",
        "–" if same else f"{found['ssim']['value']:.3f}",
        f"{row['macs']['dense'] / 1e9:.1f}",
        f"{row['latency_ms']['batch1']['ratio']:.2f}",
    ]


def upscaler() -> str:
    """ESRGAN-slim, pruned and rounded to codebooks."""
    found = results("esrgan_slim")
    head = ["row", "bytes", "PSNR to the photograph, dB", "loss, dB (95%)"]
    rows = [["dense", f"{found['raw_bytes']:,}", f"{found['dense_psnr_to_truth']:.2f}", "–"]]
    for row in found["rows"]:
        (low, high), loss = row["loss"]["ci95"], row["loss"]["value"]
        away = f"{loss:.2f} ({low:.2f} to {high:.2f})"
        rows.append([row["name"], f"{row['bytes']:,}", f"{row['psnr_to_truth']:.2f}", away])
    return table(head, rows)


TABLES: dict[str, Table] = {
    "generators": generators,
    "upscaler": upscaler,
}
