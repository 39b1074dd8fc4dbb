#!/usr/bin/env python3
"""abused.py TESTS - every exported function (abi.txt) is called with wrong arguments, in abuse*.c or op.c."""
import pathlib
import re
import sys

tests = pathlib.Path(sys.argv[1])
functions = [line.split()[0] for line in (tests / "abi.txt").read_text().splitlines() if line.startswith("clpeft_")]
text = "".join(path.read_text() for path in tests.glob("abuse*.c"))
called = set(re.findall(r"clpeft_\w+(?=\()", text))
called |= {"clpeft_pool_" + name for name in re.findall(r"^ *POOL\((\w+)\)$", text, re.M)}
called |= {"clpeft_" + name for name in re.findall(r"^CALL\((\w+),", (tests / "op.c").read_text(), re.M)}
missing = [name for name in functions if name not in called]
print(f"{len(functions) - len(missing)} of {len(functions)} functions", *missing, sep="\n")
sys.exit(bool(missing) or len(functions) < 100)
