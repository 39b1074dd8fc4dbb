"""compare.py [--chart FILE.svg] LOG.jsonl... - finished runs side by side, from the logs that the trainers write.

Prints a table with one line per run, named after its log file; the chart has the loss (mean of the last 20 steps) and
the accuracy on the evaluation file over the steps. It needs gnuplot.
"""
import argparse
import json
import pathlib
import subprocess
import sys

MEAN_OVER = 20  # steps
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")  # Okabe and Ito: told apart by everyone

GNUPLOT = """
set terminal svg size 1000,420 font "sans,13" background "white"
set output "{file}"
set multiplot layout 1,2
set key top right noenhanced
set grid linetype 1 linecolor "#dddddd"
set xlabel "step"
set ylabel "training loss (mean of {mean_over} steps)"
plot {losses}
set key bottom right
set ylabel "test accuracy (%)"
plot {accuracies}
unset multiplot
"""


class Run:
    def __init__(self, path):
        lines = [json.loads(line) for line in open(path, encoding="utf-8")]
        self.name = pathlib.Path(path).stem
        self.losses = [(line["step"], line["loss"]) for line in lines if "loss" in line]
        self.accuracies = [(line["step"], 100 * line["eval_accuracy"]) for line in lines if "eval_accuracy" in line]
        if not lines or not lines[-1].get("done"):
            sys.exit(f"compare.py: {path}: this run did not finish")
        self.end = lines[-1]

    def mean_losses(self):
        values = [loss for _, loss in self.losses]
        for i, (step, _) in enumerate(self.losses):
            last = values[max(0, i + 1 - MEAN_OVER) : i + 1]
            yield step, sum(last) / len(last)


def table(runs):
    line = "{:<8} {:>10} {:>16} {:>15} {:>14} {:>12}".format
    yield line("method", "trainable", "accuracy before", "accuracy after", "time per step", "peak memory")
    for run in runs:
        end = run.end
        yield line(
            run.name,
            f"{end['trainable']:,}",
            f"{100 * end['accuracy_before']:.1f} %",
            f"{100 * end['accuracy_after']:.1f} %",
            f"{1000 * end['seconds_per_step']:.0f} ms",
            f"{end['peak_memory_bytes'] / 1e6:.0f} MB",
        )


def curves(name, series, style):
    """Data blocks of gnuplot, and the plot command's arguments that draw them."""
    blocks, plots = [], []
    for i, (title, points) in enumerate(series):
        rows = "\n".join(f"{x} {y:.6g}" for x, y in points)
        blocks.append(f"${name}{i} << end\n{rows}\nend\n")
        plots.append(f'${name}{i} with {style} linewidth 2 linecolor "{COLORS[i % len(COLORS)]}" title "{title}"')
    return "".join(blocks), ", ".join(plots)


def draw(runs, file):
    loss_data, losses = curves("loss", [(run.name, run.mean_losses()) for run in runs], "lines")
    accuracy_data, accuracies = curves("accuracy", [(run.name, run.accuracies) for run in runs], "linespoints")
    script = GNUPLOT.format(file=file, mean_over=MEAN_OVER, losses=losses, accuracies=accuracies)
    try:
        subprocess.run(["gnuplot"], input=loss_data + accuracy_data + script, text=True, check=True)
    except FileNotFoundError:
        sys.exit("compare.py: gnuplot is not installed, so there is no chart")
    except subprocess.CalledProcessError:
        sys.exit(f"compare.py: gnuplot could not draw {file}")
    print(f"\nchart: {file}")


def main():
    parser = argparse.ArgumentParser(description="Compare finished training runs.")
    parser.add_argument("--chart", metavar="FILE.svg")
    parser.add_argument("logs", metavar="LOG.jsonl", nargs="+")
    args = parser.parse_args()
    runs = [Run(path) for path in args.logs]
    print("\n".join(table(runs)))
    if args.chart:
        draw(runs, args.chart)


main()
