"""curves.py RESULTS.jsonl OUT.svg - the chart of the section `scale`: time per token of a LoRA step as the batch, the sequences and the
layers grow, beside the floating-point operations per token, at the rate of the first point. Needs gnuplot.

Operations per token and layer of width d, sequences of n: products 4 x 12 d^2, forward and backward; attention 4 n d forward, and 10 n d
backward, which forms the scores again."""
import json
import subprocess
import sys

PANELS = (("batch", "tokens of a batch, in sequences of 32"), ("length", "tokens of a sequence, 4,096 of a batch"), ("width", "width of the layers"))
WIDTH = 384
GNUPLOT = """
set terminal svg size 1200,340 font "sans,13" background "white"
set output "{file}"
set multiplot layout 1,3
set key bottom right
set grid linetype 1 linecolor "#dddddd"
set logscale x 2
set yrange [0:*]
set ylabel "us per token"
{plots}
unset multiplot
"""


def operations(d, n):
    return 48 * d * d + 14 * n * d


def point(what, shape):
    """The growing quantity, and operations per token."""
    if what == "width":
        width = int(shape.split(",")[0])
        return width, operations(width, 32)
    count, length = map(int, shape.split("x"))
    return (count * length if what == "batch" else length), operations(WIDTH, length)


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: curves.py RESULTS.jsonl OUT.svg")
    rows = [row for row in map(json.loads, open(sys.argv[1], encoding="utf-8")) if row["bench"] == "scale"]
    blocks, plots = [], []
    for what, label in PANELS:
        points = [(*point(what, row["shape"]), row["ours"]) for row in rows if row["what"] == what]
        if not points:
            sys.exit(f"curves.py: {sys.argv[1]} has no results of scale, {what}")
        rate = points[0][1] / points[0][2]
        lines = "\n".join(f"{x} {time:.6g} {count / rate:.6g}" for x, count, time in points)
        blocks.append(f"${what} << end\n{lines}\nend\n")
        plots.append(f'set xlabel "{label}"\nplot ${what} using 1:2 with linespoints linewidth 2 pointtype 7 linecolor "#0072b2" title "measured", '
                     f'${what} using 1:3 with lines dashtype 2 linewidth 2 linecolor "#e69f00" title "operations, at the first rate"')  # fmt: skip
    subprocess.run(["gnuplot"], input="".join(blocks) + GNUPLOT.format(file=sys.argv[2], plots="\n".join(plots)), text=True, check=True)


if __name__ == "__main__":
    main()
