"""table.py [--markdown] [FILE] - a table of the benchmarks' JSON lines (standard input without FILE): plain, or for the README."""
import json
import sys

markdown = "--markdown" in sys.argv
files = [a for a in sys.argv[1:] if not a.startswith("--")]
rows = [json.loads(line) for line in (open(files[0]) if files else sys.stdin)]


def verdict(row):
    """'met' or 'missed': the target is a bound of the ratio, or after the word 'ours' of the value itself."""
    if "target" not in row:
        return ""
    *which, relation, bound = row["target"].split()
    value = row["ours"] if which else row["ratio"]
    return "met" if (value <= float(bound) if relation == "<=" else value >= float(bound)) else "missed"


def number(row, key):
    return f"{row[key]:.4g}" if key in row else ""


def cells(row):
    return [row["what"], row["shape"], number(row, "ours") + " " + row["unit"], row.get("peer", ""), number(row, "theirs"),
            number(row, "ratio"), number(row, "ratio_median"), row.get("target", ""), verdict(row)]


HEAD = ["what", "shape", "here", "peer", "peer's", "ratio", "of medians", "target", ""]
for device in dict.fromkeys(row["device"] for row in rows):
    print(f"{'**' if markdown else ''}{device}{'**' if markdown else ''}\n")
    for bench in dict.fromkeys(row["bench"] for row in rows):
        table = [HEAD] + [cells(row) for row in rows if row["device"] == device and row["bench"] == bench]
        if len(table) == 1:
            continue
        keep = [c for c in range(len(HEAD)) if any(line[c] for line in table[1:])]
        table = [[line[c] for c in keep] for line in table]
        if markdown:
            lines = ["| " + " | ".join(line) + " |" for line in table]
            print("\n".join([lines[0], "|" + " --- |" * len(keep)] + lines[1:]) + "\n")
        else:
            wide = [max(len(line[c]) for line in table) for c in range(len(keep))]
            print(bench)
            print("\n".join("  " + "  ".join(cell.ljust(w) for cell, w in zip(line, wide)).rstrip() for line in table) + "\n")
