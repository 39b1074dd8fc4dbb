#!/usr/bin/env python3
"""Make a C file of the kernel files: embed.py COMMON.cl FILE.cl... OUT.c. A line #include "FILE.cl" becomes that file's text."""
import re
import sys
from pathlib import Path


def expand(path):
    return re.sub(r'^#include "(.*)"$', lambda line: expand(path.parent / line[1]), path.read_text("ascii"), flags=re.M)


*inputs, output = sys.argv[1:]
with open(output, "w", encoding="ascii") as out:
    out.write('#include "kernels.h"\n\n')
    for path in inputs:
        text = expand(Path(path)).encode("ascii")
        out.write(f"static const char {Path(path).stem}_text[] = {{\n")
        for start in range(0, len(text), 20):
            out.write("    " + ",".join(str(byte) for byte in text[start:start + 20]) + ",\n")
        out.write("    0};\n")
    out.write("\nconst struct clp_source clp_sources[] = {\n")
    for path in inputs:
        name = Path(path).stem
        out.write(f'    {{ "{name}", {name}_text }},\n')
    out.write("    { 0, 0 },\n};\n")
