"""report.py RESULTS.jsonl [CHART.svg] - tables of the runs of study.py, as Markdown on stdout, and the chart of sample efficiency, by
gnuplot.

A mean of n seeds has the interval  mean +- t(n-1) s / sqrt(n)  with 95 % (Student). Differences are taken seed by seed, of the seeds that
both have: the same rows in the same order. A difference is called one only where its interval leaves 0 out."""
import math
import pathlib
import statistics
import subprocess
import sys

sys.dont_write_bytecode = True  # nothing of this is left in the source tree
import results

METHODS = ("lora", "dora", "hora", "doran")
# Quantiles 0.975 of Student's t for 1 ... 30 degrees of freedom; more have the last one, which is a little too wide.
T975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
T975 += (2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)
UNITS = {"eval_accuracy": ("test accuracy", "%", 2), "eval_loss": ("test loss", "nats per token", 4)}
GNUPLOT = """
set terminal svg size {width},400 font "sans,13" background "white"
set output "{file}"
set multiplot layout 1,{count}
set key bottom right noenhanced
set grid linetype 1 linecolor "#dddddd"
set logscale x
set xlabel "training examples"
{plots}
unset multiplot
"""
STABILITY = ["weights", "rate", "method", "runs", "diverged", "accuracy (%)", "− dora", "last loss", "loss variance", "variance / that of dora"]
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7")  # Okabe and Ito: told apart by everyone


def interval(values):
    """Mean and half width; None for the half width of fewer than two."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, None
    t = T975[min(len(values) - 1, len(T975)) - 1]
    return mean, t * statistics.stdev(values) / math.sqrt(len(values))


def scores(runs):
    return {seed: run["score"] for seed, run in runs.items() if run["score"] is not None}


def pairs(ours, theirs):
    ours, theirs = scores(ours), scores(theirs)
    return [ours[seed] - theirs[seed] for seed in sorted(ours) if seed in theirs]


def excludes_zero(mean, half):
    return half is not None and abs(mean) > half


def shown(mean, half, digits, sign=""):
    return f"{mean:{sign}.{digits}f}" + (f" ± {half:.{digits}f}" if half is not None else ", one seed")


def table(header, rows):
    return ["", "| " + " | ".join(header) + " |", "|---" * len(header) + "|", *("| " + " | ".join(row) + " |" for row in rows)]


class Report:
    def __init__(self, runs):
        self.runs = runs
        self.claims, self.compared = [], 0

    def places(self, part):
        return sorted({(s["task"], s["size"]) for s, _ in results.matching(self.runs, part=part)})

    def names(self, **wanted):
        return list(dict.fromkeys(s["name"] for s, _ in results.matching(self.runs, **wanted)))

    def difference(self, place, ours, our_name, theirs, their_name, noted=True):
        """The cell of a paired difference. It is counted, and a claim noted where the interval allows one, unless its mirror image is."""
        both = pairs(ours, theirs)
        if not both:
            return "—"
        measure = next(iter(ours.values()))["measure"]
        _, unit, digits = UNITS[measure]
        mean, half = interval(both)
        self.compared += noted and half is not None
        if noted and excludes_zero(mean, half):
            word = "better" if (mean > 0) == (measure == "eval_accuracy") else "worse"
            self.claims.append(f"{place[0]} {place[1]:,}: {our_name} is {word} than {their_name} by {shown(abs(mean), half, digits)} {unit}, "
                               f"{len(both)} seeds")  # fmt: skip
        return shown(mean, half, digits, "+") + (" *" if excludes_zero(mean, half) else "")

    def rate(self, task, size, name):
        """The chosen rate; beside an end of the grid the best may lie beyond it."""
        rate = results.chosen_rate(self.runs, task, size, name)
        grid = {s["lr"] for s, _ in results.matching(self.runs, task=task, size=size, name=name, split="validation")}
        return "—" if rate is None else f"{rate:g}" + (" (end of the grid)" if rate in (min(grid), max(grid)) else "")

    def row(self, part, task, size, name):
        """Name, parameters, learning rate, seeds, mean: the first cells of every table."""
        runs = results.reported(self.runs, part, task, size, name)
        measured = list(scores(runs).values())
        if not measured:
            return None, runs
        first = next(iter(runs.values()))
        failed = sum(run["diverged"] for run in runs.values())
        rate = self.rate(task, size, name if part != "ablation" else name.split(",")[0])
        mean = shown(*interval(measured), UNITS[first["measure"]][2]) + (f", {failed} diverged" if failed else "")
        return [name, f"{first['trainable']:,}", rate, str(len(measured)), mean], runs

    def header(self, task, size):
        measure = results.matching(self.runs, task=task, size=size)[0][1]["measure"]
        return ["method", "trainable", "learning rate", "seeds", f"{UNITS[measure][0]} ({UNITS[measure][1]})"]

    def overview(self):
        """A line for each task and size: the means of LoRA and DoRA, and what their generators add to them."""
        rows = []
        for place in self.places("main"):
            runs = {name: results.reported(self.runs, "main", *place, name) for name in METHODS}
            if not all(scores(found) for found in runs.values()):
                continue
            measure, unit, digits = UNITS[runs["lora"][min(runs["lora"])]["measure"]]
            means = [shown(*interval(list(scores(runs[name]).values())), digits) for name in ("lora", "dora")]
            added = [self.difference(place, runs[name], name, runs[other], other, False) for name, other in (("hora", "lora"), ("doran", "dora"))]
            rows.append([place[0], f"{place[1]:,}", f"{measure} ({unit})", str(len(runs["lora"])), *means, *added])
        if rows:
            yield "### At a glance"
            yield from table(["task", "examples", "measure", "seeds", "lora", "dora", "hora − lora", "doran − dora"], rows)
            yield ""

    def main(self):
        for place in self.places("main"):
            base = {name: results.reported(self.runs, "main", *place, name) for name in ("lora", "dora")}
            rows = []
            others = [name for name in self.names(part="main", task=place[0], size=place[1]) if name not in METHODS]
            for name in (*METHODS, *others):
                row, runs = self.row("main", *place, name)
                if row:
                    rows.append(row + [
                        "" if name == other else self.difference(place, runs, name, base[other], other, (name, other) != ("lora", "dora"))
                        for other in base
                    ])  # fmt: skip
            if rows:
                yield f"### {place[0]}, {place[1]:,} examples"
                yield from table(self.header(*place) + ["− lora", "− dora"], rows)
                yield ""

    def equal(self):
        """HoRA and DoRAN at the parameters of LoRA, and HoRA beside a LoRA of its own."""
        for place in self.places("equal"):
            variants = self.names(part="equal", task=place[0], size=place[1])
            rows = []
            for name in variants:
                row, runs = self.row("equal", *place, name)
                if not row:
                    continue
                other = {"hora": "lora", "doran": "dora", "lora": "hora"}[name.split(",")[0]]
                theirs = results.reported(self.runs, "main", *place, other)
                rows.append(row + [other, self.difference(place, runs, name, theirs, other)])
            if rows:
                yield f"### {place[0]}, {place[1]:,} examples, equal parameters"
                yield from table(self.header(*place) + ["beside", "difference"], rows)
                yield ""

    def ablation(self):
        for place in self.places("ablation"):
            rows = []
            for name in self.names(part="ablation", task=place[0], size=place[1]):
                row, runs = self.row("ablation", *place, name)
                if row:
                    method = name.split(",")[0]
                    theirs = results.reported(self.runs, "main", *place, method)
                    rows.append(row + [self.difference(place, runs, name, theirs, f"{method} as it is")])
            if rows:
                yield f"### {place[0]}, {place[1]:,} examples, one option changed"
                yield from table(self.header(*place) + ["difference"], rows)
                yield ""

    def selection(self):
        """Validation results, from which the learning rates were chosen."""
        seen = {(s["task"], s["size"], s["name"]) for s, _ in results.matching(self.runs, split="validation")}
        rows = []
        for task, size, name in sorted(seen):
            found = results.matching(self.runs, task=task, size=size, name=name, split="validation")
            by_rate = {}
            for s, r in found:
                by_rate.setdefault(s["lr"], []).append(r["score"])
            cells = [f"{rate:g}: " + ", ".join("—" if x is None else f"{x:.2f}" for x in by_rate[rate]) for rate in sorted(by_rate)]
            rows.append([f"{task} {size:,}", name, "; ".join(cells)])
        if rows:
            yield "### Choice of the learning rates (validation rows)"
            yield from table(["task", "method", "rate: result of each seed"], rows)
            yield ""

    def stability(self):
        for task, size in self.places("stability"):
            found = results.matching(self.runs, part="stability", task=task, size=size)
            places = sorted({(s["options"]["weights"], s["lr"]) for s, _ in found}, key=lambda p: (p[0] != "f32", p[1]))
            rows = []
            for weights, rate in places:
                here = {}
                for s, r in found:
                    if (s["options"]["weights"], s["lr"]) == (weights, rate):
                        here.setdefault(s["name"], {})[s["seed"]] = r
                for name in here:
                    rows.append([weights, f"{rate:g}", name, *self.stability_cells((task, size), here, name, f"{weights}, rate {rate:g}")])
            yield f"### Stability, {task} {size:,}"
            yield from table(STABILITY, rows)
            yield ""

    def stability_cells(self, place, here, name, where):
        runs, base = here[name], here.get("dora, tau none", {})
        other = name != "dora, tau none"
        finite = [run for run in runs.values() if run["loss_variance"] is not None]
        measured = list(scores(runs).values())
        cells = [str(len(runs)), str(sum(run["diverged"] for run in runs.values()))]
        cells.append(f"{statistics.fmean(measured):.1f}" if measured else "—")
        cells.append(self.difference(place, runs, f"{name} at {where}", base, "dora") if other else "")
        if not finite:
            return cells + ["—", "—", "—"]
        cells += [f"{statistics.fmean(run[field] for run in finite):.3g}" for field in ("last_loss", "loss_variance")]
        return cells + [self.ratio(place, runs, base, name, where) if other else ""]

    def ratio(self, place, ours, theirs, name, where):
        """Ratio of loss variances, its interval that of the mean logarithm."""
        logs = [math.log(ours[seed]["loss_variance"] / theirs[seed]["loss_variance"])
                for seed in sorted(ours) if seed in theirs and ours[seed]["loss_variance"] and theirs[seed]["loss_variance"]]  # fmt: skip
        if not logs:
            return "—"
        mean, half = interval(logs)
        if half is None:
            return f"{math.exp(mean):.2f}, one seed"
        self.compared += 1
        if excludes_zero(mean, half):
            word = "below" if mean < 0 else "above"
            self.claims.append(f"{place[0]} {place[1]:,}, {where}: the loss variance of {name} is {word} that of dora, "
                               f"{math.exp(mean):.2f} times, {len(logs)} seeds")  # fmt: skip
        return f"{math.exp(mean):.2f} ({math.exp(mean - half):.2f} to {math.exp(mean + half):.2f})" + (" *" if excludes_zero(mean, half) else "")

    def curves(self):
        """Task -> method -> [(size, mean, half width)]."""
        curves = {}
        for task, size in self.places("main"):
            for name in METHODS:
                measured = list(scores(results.reported(self.runs, "main", task, size, name)).values())
                if measured:
                    curves.setdefault(task, {}).setdefault(name, []).append((size, *interval(measured)))
        return curves

    def efficiency(self):
        """The size at which HoRA has the result that LoRA has at its largest size, between measured sizes on a logarithmic scale; only where
        the paired difference there leaves 0 out."""
        tasks = {task: methods for task, methods in self.curves().items() if "hora" in methods and "lora" in methods}
        if tasks:
            yield "### Sample efficiency"
        for task, methods in tasks.items():
            size, goal, _ = methods["lora"][-1]
            both = pairs(*(results.reported(self.runs, "main", task, size, name) for name in ("hora", "lora")))
            reached = crossing(methods["hora"], goal)
            yield ""
            if not both or not excludes_zero(*interval(both)):
                yield f"{task}: HoRA and LoRA are not told apart at {size:,} examples."
            elif reached is None:
                yield f"{task}: HoRA does not reach within its measured sizes what LoRA has at {size:,} examples."
            else:
                yield f"{task}: HoRA reaches what LoRA has at {size:,} examples with {reached:,.0f}."
        if tasks:
            yield ""

    def summary(self):
        yield "### What the intervals allow to say"
        yield ""
        yield f"{self.compared} differences have an interval; of so many, about {0.05 * self.compared:.1f} would leave 0 out by chance alone."
        yield ""
        yield from [f"- {claim}" for claim in self.claims] or ["- Nothing: no interval leaves 0 out."]


def crossing(points, goal):
    """Where the line through (log size, mean) passes the goal."""
    for (n0, y0, _), (n1, y1, _) in zip(points, points[1:]):
        if y0 != y1 and min(y0, y1) <= goal <= max(y0, y1):
            return math.exp(math.log(n0) + (goal - y0) / (y1 - y0) * math.log(n1 / n0))
    return None


def draw(report, file):
    blocks, plots = [], []
    curves = report.curves()
    for i, (task, methods) in enumerate(curves.items()):
        lines = []
        for name, points in methods.items():
            block, color = f"$data{i}{name}", COLORS[METHODS.index(name)]
            shift = 1 + 0.03 * (METHODS.index(name) - 1.5)  # so that the bars stand beside each other
            rows = "\n".join(f"{n * shift:.6g} {mean:.6g} {half or 0:.6g}" for n, mean, half in points)
            blocks.append(f"{block} << end\n{rows}\nend\n")
            lines.append(f'{block} with yerrorlines linewidth 2 linecolor "{color}" title "{name}"')
        unit = UNITS[results.matching(report.runs, task=task)[0][1]["measure"]]
        plots.append(f'set title "{task}"\nset ylabel "{unit[0]} ({unit[1]})"\nplot ' + ", ".join(lines))
    script = GNUPLOT.format(file=file, width=500 * len(plots), count=len(plots), plots="\n".join(plots))
    try:
        subprocess.run(["gnuplot"], input="".join(blocks) + script, text=True, check=True)
    except FileNotFoundError:
        sys.exit("report.py: gnuplot is not installed, so there is no chart")


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: report.py RESULTS.jsonl [CHART.svg]")
    report = Report(results.read(pathlib.Path(sys.argv[1])))
    for part in (report.overview, report.main, report.equal, report.efficiency, report.stability, report.ablation, report.selection, report.summary):
        for line in part():
            print(line)
    if len(sys.argv) == 3 and report.curves():
        draw(report, sys.argv[2])


if __name__ == "__main__":
    main()
