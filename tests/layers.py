#!/usr/bin/env python3
"""Arrows between modules go one way: layers.py ROOT fails if a file of src/ includes a header of a file below it in meson.build's list,
or if a local header is missing. Headers without a .c of their own stand where the first file that includes them does."""
import re
import sys
from pathlib import Path

root = Path(sys.argv[1])
listed = re.findall(r"'(src/[\w/.-]+\.c)'", (root / "meson.build").read_text())
place = {name[:-2]: i for i, name in enumerate(listed)}
errors = [f"{f.relative_to(root)} is not in meson.build's list" for f in (root / "src").rglob("*.c") if str(f.relative_to(root))[:-2] not in place]


def local_includes(path):
    for name in re.findall(r'^#include "([\w/.-]+)"', path.read_text(), re.M):
        for folder in (path.parent, root / "src"):
            if (folder / name).exists():
                yield (folder / name).resolve().relative_to(root.resolve())
                break


def check(path, at, seen):
    for header in local_includes(path):
        if header in seen:
            continue
        seen.add(header)
        own = place.get(str(header)[:-2])
        if own is not None and own > at:
            errors.append(f"{listed[at]} includes {header} (through {path.relative_to(root)}), which belongs to a file below it")
        check(root / header, at, seen)


for i, name in enumerate(listed):
    check(root / name, i, set())
print("\n".join(errors) or f"{len(listed)} files, all arrows go up the list")
sys.exit(bool(errors))
