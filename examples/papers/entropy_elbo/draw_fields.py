#!/usr/bin/env python3
"""The columns of W of runs, as square pictures side by side -> a PNG picture.

usage: draw_fields.py OUT.png RUN [RUN ...]

Each field is drawn on its own scale, zero in the middle grey, the ones of the largest prior scale first.
"""
import os
import struct
import sys
import zlib

import numpy as np

from read_run import tensors

ACROSS, ZOOM, GAP = 10, 3, 2


def write_png(path, gray):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + line.tobytes() for line in gray)
    head = struct.pack(">IIBBBBB", gray.shape[1], gray.shape[0], 8, 0, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def atlas(run):
    saved = tensors(os.path.join(run, "model.safetensors"))
    w = saved["W"].astype(float)
    if "scale" in saved:
        w = w[:, np.argsort(-saved["scale"])]
    side = int(round(np.sqrt(len(w))))
    down = -(-w.shape[1] // ACROSS)
    cell = side * ZOOM + GAP
    picture = np.full((down * cell + GAP, ACROSS * cell + GAP), 255, np.uint8)
    for i, field in enumerate(w.T):
        field = np.kron(field.reshape(side, side) / np.abs(field).max(), np.ones((ZOOM, ZOOM)))
        top, left = GAP + i // ACROSS * cell, GAP + i % ACROSS * cell
        picture[top : top + side * ZOOM, left : left + side * ZOOM] = np.round(127.5 * (1 + field))
    return picture


def main():
    pictures = [atlas(run) for run in sys.argv[2:]]
    height = max(len(p) for p in pictures)
    pictures = [np.pad(p, ((0, height - len(p)), (0, 12)), constant_values=255) for p in pictures]
    write_png(sys.argv[1], np.hstack(pictures))


main()
