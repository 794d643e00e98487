"""Writes samples for calibration, without numpy: samples.py FILE.npz ROWS CHANNELS [CHANNEL=FACTOR ...] makes x [ROWS, CHANNELS] of
normal numbers, some channels larger."""

import random
import struct
import sys
import zipfile

path, rows, channels = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
factors = {int(c): float(f) for c, f in (word.split("=") for word in sys.argv[4:])}
normal = random.Random(1)
values = [normal.gauss(0, factors.get(c, 1)) for _ in range(rows) for c in range(channels)]
header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {channels}), }}".ljust(117) + "\n"
with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + struct.pack(f"<{len(values)}f", *values))
