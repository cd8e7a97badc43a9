"""The real files of isochrones, and damage to them: bytes and lines changed, lost or moved."""

import gzip

import numpy as np

MIST = "mist_v1_example.iso.cmd.gz"
BASTI = "basti_3000myr_gaia_dr3.isc.gz"
PARSEC = "parsec_12p6gyr_mh-2p8_nircam.txt"

STRAY = [
    b"nan",
    b"-inf",
    b"1e999",
    b"*****",
    b"#",
    b"\n",
    b"\t",
    b"\x00",
    b"\xff",
    b"1_0",
    b"--",
    b"",
]


def mutate(data: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """One to three changes of a file's bytes."""
    for _ in range(int(rng.integers(1, 4))):
        data = CHANGES[int(rng.integers(len(CHANGES)))](data, others, rng)
    return data


def _place(data, rng):
    """Half of the changes go to the header, which is a small part of the file."""
    end = len(data) if rng.random() < 0.5 else min(len(data), 2500)
    return int(rng.integers(max(end, 1)))


def _flip(data, others, rng):
    changed = bytearray(data)
    if changed:
        changed[_place(data, rng)] = int(rng.integers(256))
    return bytes(changed)


def _digit(data, others, rng):
    changed = bytearray(data)
    k = _place(data, rng)
    while k < len(changed) and not chr(changed[k]).isdigit():
        k += 1
    if k < len(changed):
        changed[k] = ord(str(rng.integers(10)))
    return bytes(changed)


def _insert(data, others, rng):
    k = _place(data, rng)
    return data[:k] + STRAY[int(rng.integers(len(STRAY)))] + data[k:]


def _word(data, others, rng):
    """Put something in place of a field."""
    k = _place(data, rng)
    start = data.find(b" ", k)
    fields = data[start : start + 200].split()
    if start < 0 or not fields:
        return data
    at = data.find(fields[0], start)
    stray = STRAY[int(rng.integers(len(STRAY)))]
    return data[:at] + stray + data[at + len(fields[0]) :]


def _delete(data, others, rng):
    k = _place(data, rng)
    return data[:k] + data[k + int(rng.integers(1, 400)) :]


def _truncate(data, others, rng):
    return data[: _place(data, rng)]


def _lines(data, others, rng):
    """Drop, double or swap lines."""
    lines = data.split(b"\n")
    k = data[: _place(data, rng)].count(b"\n")
    j = int(rng.integers(len(lines)))
    kind = int(rng.integers(3))
    if kind == 0:
        del lines[k]
    elif kind == 1:
        lines.insert(j, lines[k])
    else:
        lines[k], lines[j] = lines[j], lines[k]
    return b"\n".join(lines)


def _join(data, others, rng):
    other = others[int(rng.integers(len(others)))]
    return data + other if rng.random() < 0.5 else other[:300] + data


def _damage_gzip(data, others, rng):
    packed = bytearray(gzip.compress(data, 1))
    packed[int(rng.integers(2, len(packed)))] ^= int(rng.integers(1, 256))
    return bytes(packed[: int(rng.integers(1, len(packed)))] if rng.random() < 0.3 else packed)


CHANGES = [_flip, _digit, _digit, _insert, _word, _delete, _truncate, _lines, _lines, _join]
CHANGES += [_damage_gzip]
