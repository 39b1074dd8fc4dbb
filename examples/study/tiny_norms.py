"""tiny_norms.py MODEL OUT - a copy of a BERT model folder that computes the same, with tiny norms: every second row of the query and value
weights is divided by 1024, and what meets it, the row of the key and the column of the output, is multiplied by 1024. The norms that DoRA
divides by are then of two sizes, and no result changes: a power of two is exact.

Standard library only."""
import array
import json
import pathlib
import re
import shutil
import struct
import sys

FACTOR = 1024.0
SMALLER = re.compile(r"attention\.self\.(query|value)\.(weight|bias)$")
LARGER_ROWS = re.compile(r"attention\.self\.key\.(weight|bias)$")
LARGER_COLUMNS = re.compile(r"attention\.output\.dense\.weight$")


def scaled(name, shape, values):
    """Row-major values, changed in place."""
    columns = shape[1] if len(shape) == 2 else 1
    if SMALLER.search(name) or LARGER_ROWS.search(name):
        factor = FACTOR if LARGER_ROWS.search(name) else 1 / FACTOR
        for row in range(0, shape[0], 2):
            for i in range(row * columns, (row + 1) * columns):
                values[i] *= factor
    elif LARGER_COLUMNS.search(name):
        for i in range(0, len(values), 2):
            values[i] *= FACTOR


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: tiny_norms.py MODEL OUT")
    model, out = map(pathlib.Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    for file in model.iterdir():
        if file.is_file() and file.name != "model.safetensors":
            shutil.copy(file, out / file.name)
    data = bytearray((model / "model.safetensors").read_bytes())
    start = 8 + struct.unpack_from("<Q", data)[0]
    changed = 0
    for name, tensor in json.loads(data[8:start]).items():
        if not (SMALLER.search(name) or LARGER_ROWS.search(name) or LARGER_COLUMNS.search(name)):
            continue
        if tensor["dtype"] != "F32" or tensor["shape"][-1] % 2:
            sys.exit(f"tiny_norms.py: {name}: {tensor['dtype']} {tensor['shape']}: only F32 with an even number of columns")
        first, last = (start + offset for offset in tensor["data_offsets"])
        values = array.array("f", data[first:last])
        scaled(name, tensor["shape"], values)
        data[first:last] = values.tobytes()
        changed += 1
    if not changed:
        sys.exit(f"tiny_norms.py: {model}: no attention weights with BERT's names")
    (out / "model.safetensors").write_bytes(data)


if __name__ == "__main__":
    main()
