"""Rebuild ruprecht147.csv from the gyrointerp 0.7 source archive (see PROVENANCE_ruprecht147.md).

Usage: python build_ruprecht147.py gyrointerp-0.7.tar.gz   (from ``pip download --no-deps
--no-binary :all: gyrointerp==0.7``). Needs nothing beyond the standard library.
"""

import csv
import hashlib
import io
import math
import sys
import tarfile
from pathlib import Path

ARCHIVE_SHA256 = "cb0d785a7d1a4bccacb93227bab654064cd4e3a55c9da9c62a2c09740e838183"
MEMBER = (
    "gyrointerp-0.7/gyrointerp/data/interim/ruprecht147/Curtis_2020_rup147_X_GDR3_supplemented.csv"
)
MAG_PER_FLUX = 2.5 / math.log(10.0)  # sigma_mag = 1.0857 sigma_flux / flux

# name here -> name in the source, copied as text
COPIED = {
    "gaia_dr3": "dr3_source_id",
    "gaia_dr2": "dr2_source_id",
    "two_mass": "_2MASS",
    "ra": "ra",
    "dec": "dec",
    "J": "Jmag",
    "Ks": "Kmag",
    "JKs_err": "eJ-K",
    "parallax": "parallax",
    "parallax_err": "parallax_error",
    "pmra": "pmra",
    "pmdec": "pmdec",
    "ruwe": "ruwe",
    "bp_rp_excess": "phot_bp_rp_excess_factor",
    "non_single_star": "non_single_star",
    "member": "Member",
    "spectroscopic_binary": "SpBin",
    "photometric_binary": "pBin",
    "wide_binary": "WBin",
    "cl": "Cl",
    "rv": "RV",
    "rv_err": "eRV",
    "rv_offset": "dRV",
    "gaia_rv": "radial_velocity",
    "gaia_rv_err": "radial_velocity_error",
    "notes": "Notes",
}


def number(text: str) -> float:
    """Return a number, NaN for an empty field."""
    return float(text) if text.strip() else math.nan


def rounded(value: float, digits: int) -> str:
    """Return a number as text, empty for NaN."""
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def convert(row: dict[str, str], seen: set[str]) -> dict[str, str]:
    """Return one row of the new table; ``seen`` collects the Gaia DR3 sources so far."""
    out = {name: " ".join(row[source].split()) for name, source in COPIED.items()}
    g = number(row["phot_g_mean_mag"])
    out["G"] = rounded(g, 6)
    out["BP"] = rounded(g + number(row["bp_g"]), 6)
    out["RP"] = rounded(g - number(row["g_rp"]), 6)
    for band, name in (("G", "g"), ("BP", "bp"), ("RP", "rp")):
        signal_to_noise = number(row[f"phot_{name}_mean_flux_over_error"])
        out[f"{band}_err"] = rounded(MAG_PER_FLUX / signal_to_noise, 6)
    out["duplicate"] = str(int(row["dr3_source_id"] in seen))
    seen.add(row["dr3_source_id"])
    return out


def main(archive: Path) -> None:
    """Read the archive and write ruprecht147.csv beside this script."""
    content = archive.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != ARCHIVE_SHA256:
        raise SystemExit(f"{archive} has SHA-256 {digest}, expected {ARCHIVE_SHA256}")
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        source = tar.extractfile(MEMBER)
        assert source is not None
        rows = list(csv.DictReader(io.TextIOWrapper(source, "utf-8")))
    seen: set[str] = set()
    converted = [convert(row, seen) for row in rows]
    first = ["gaia_dr3", "gaia_dr2", "duplicate", "G", "G_err", "BP", "BP_err", "RP", "RP_err"]
    names = first + [name for name in COPIED if name not in first]
    target = Path(__file__).with_name("ruprecht147.csv")
    with target.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(converted)
    print(f"{len(converted)} rows, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
