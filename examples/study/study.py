"""study.py --data DIR --programs DIR [--out DIR] [--plan small|full] [OPTION]... - trains every method on every task, size and seed with
the trainers of examples/, one JSON line per finished run in OUT/results.jsonl. Started again it goes on where it stopped.

Parts of the plan:
    main        lora, dora, hora, doran, and the variants that tasks.json names: the learning rate of each by validation rows and seeds
                that are not reported; then the test rows, with that rate, for the reported seeds
    equal       the same for HoRA and DoRAN at LoRA's number of parameters, and for LoRA at HoRA's
    stability   DoRA, and DoRAN with each tau, at 1, 10 and 100 times the rate 1e-3, kept after warm-up, without clipping
    ablation    one option changed, at the learning rate of the method
Stability and ablation take the smallest size of a task, unless --size names others.

Standard library only. report.py makes the tables."""
import argparse
import fcntl
import json
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # nothing of this is left in the source tree
import data
import results

METHODS = ("lora", "dora", "hora", "doran")
SELECT_SEED = 101  # and the next: no reported seed is among them
STABILITY = {"steps": 60, "rate": 0.001, "times": (1, 10, 100), "options": {"decay": "none", "clip": 0}}
ALL_SITES = "query,key,value,output"
GENERATOR = [("hidden-width", 8), ("hidden-width", 32), ("hidden-width", 48), ("seed-width", 8), ("seed-width", 32)]
GENERATOR += [("act", act) for act in ("identity", "relu", "gelu", "tanh")] + [("w2b", "per-head"), ("share", "model")]
MAGNITUDE = [("norm-gradient", True), ("magnitude-rate", 0), ("magnitude-rate", 10)]
TAU = [("tau", "none"), ("tau", "fixed"), ("tau", "gaussian"), ("tau0", 0.01), ("tau0", 1.0), ("tau-rate", 0.1), ("tau-rate", 10)]
ABLATIONS = {
    "lora": [],
    "dora": MAGNITUDE,
    "hora": GENERATOR,
    "doran": GENERATOR + MAGNITUDE + TAU,
}


def settings(part, task, size, split, seed, lr, method, name, options, steps):
    """What a run is known by. name: the method, and what was changed of it."""
    return {
        "part": part, "task": task, "size": size, "split": split, "seed": seed, "lr": lr,
        "method": method, "name": name, "options": options, "steps": steps,
    }  # fmt: skip


def named(method, *changes):
    """Name, method and options of a variant."""
    return ", ".join([method, *(f"{option} {value}" for option, value in changes)]), method, dict(changes)


def equal_variants(equal):
    """At equal numbers of parameters; s = alpha / r stays."""
    rank = equal["rank"]
    return [named("hora", ("hidden-width", equal["hidden"])), named("doran", ("hidden-width", equal["hidden"]))] + [
        named("lora", ("rank", rank), ("alpha", 2.0 * rank))
    ]


class Study:
    """The plan: lists of runs, in their order; a list may depend on the results of those before it."""

    def __init__(self, tasks, runs, args):
        self.tasks, self.runs, self.args = tasks, runs, args

    def places(self, part):
        """Task and size, as chosen on the command line, of the tasks that have the part; all sizes of a task before the next task."""
        small = self.args.plan == "small"
        for name, task in self.tasks.items():
            if part not in task.get("parts", [part]):
                continue
            for size in sorted(map(int, task["sizes"])):
                if name in (self.args.task or [name]) and size in (self.args.size or [size]):
                    yield name, size
                    if small:
                        return

    def compete(self, part, task, size, variants):
        steps, rates = self.tasks[task]["sizes"][str(size)], self.tasks[task]["rates"]
        selecting = range(SELECT_SEED, SELECT_SEED + self.args.select_seeds)
        yield [
            settings(part, task, size, "validation", seed, rate, method, name, options, steps)
            for seed in selecting for rate in rates for name, method, options in variants
        ]  # fmt: skip
        rate = {name: results.chosen_rate(self.runs, task, size, name) for name, _, _ in variants}
        yield [
            settings(part, task, size, "test", seed, rate[name], method, name, options, steps)
            for seed in range(1, self.args.seeds + 1) for name, method, options in variants
        ]  # fmt: skip

    def main(self, task, size):
        methods = self.args.method or METHODS
        others = [(method, changes) for method, changes in self.tasks[task].get("variants", []) if method in methods]
        variants = [named(method) for method in methods] + [named(method, *changes.items()) for method, changes in others]
        yield from self.compete("main", task, size, variants)

    def equal(self, task, size):
        yield from self.compete("equal", task, size, equal_variants(self.tasks[task]["equal"]))

    def smallest(self, task, size):
        return bool(self.args.size) or size == min(map(int, self.tasks[task]["sizes"]))

    def stability(self, task, size):
        if not self.smallest(task, size):
            return
        variants = [("dora", "none"), ("dora", "learned")] + [("doran", tau) for tau in ("none", "fixed", "learned", "gaussian")]
        yield [
            settings("stability", task, size, "probe", seed, STABILITY["rate"] * times, method, f"{method}, tau {tau}",
                     {"tau": tau, "weights": weights, **STABILITY["options"]}, STABILITY["steps"])
            for seed in range(1, self.args.seeds + 1) for weights in ("f32", "f16") for times in STABILITY["times"]
            for method, tau in variants
        ]  # fmt: skip

    def ablation(self, task, size):
        if not self.smallest(task, size):
            return
        steps = self.tasks[task]["sizes"][str(size)]
        rate = {method: results.chosen_rate(self.runs, task, size, method) for method in METHODS}
        changes = [(method, change) for method in METHODS for change in ABLATIONS[method] + [("sites", ALL_SITES)]]
        if None in rate.values():
            sys.exit(f"study.py: {task} {size}: part main comes before ablation: it chooses the learning rates")
        yield [
            settings("ablation", task, size, "test", seed, rate[method], method, *named(method, change)[::2], steps)
            for seed in range(1, self.args.seeds + 1) for method, change in changes
        ]  # fmt: skip

    def stages(self):
        for part in self.args.part or (["main"] if self.args.plan == "small" else ["stability", "main", "equal", "ablation"]):
            for task, size in self.places(part):
                yield from getattr(self, part)(task, size)


def variance_about_line(values):
    """Mean square of what a straight line leaves of the values: the noise of a loss, not its fall."""
    n = len(values)
    middle, mean = (n - 1) / 2, statistics.fmean(values)
    slope = sum((i - middle) * y for i, y in enumerate(values)) / sum((i - middle) ** 2 for i in range(n))
    return statistics.fmean((y - mean - slope * (i - middle)) ** 2 for i, y in enumerate(values))


def read_log(path, measure, status):
    """Result of a run, from the lines that its trainer logged. It diverged when a step was not finite, or when the mean of the last ten
    losses is above the first."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    steps = [line for line in lines if "loss" in line]
    losses = [line["loss"] for line in steps]
    skipped = sum(line.get("skipped", False) or line["loss"] is None for line in steps)
    score = [line for line in lines if "eval_loss" in line][-1].get(measure) if status == 0 else None
    finite = [loss for loss in losses if loss is not None]
    last = finite[len(finite) // 2 :]
    diverged = status == 3 or skipped > 0 or not finite or statistics.fmean(finite[-10:]) > finite[0]
    return {
        "measure": measure,
        "score": round(100 * score, 6) if score is not None and measure == "eval_accuracy" else score,
        "trainable": lines[0]["trainable"],
        "diverged": diverged,
        "skipped": skipped,
        "last_loss": statistics.fmean(finite[-10:]) if finite else None,
        "loss_variance": variance_about_line(last) if len(last) > 2 else None,
        "seconds_per_step": lines[-1].get("seconds_per_step"),
        "device": lines[0]["device"],
    }


class Run:
    """One training, in a folder of its own that goes with it."""

    def __init__(self, settings, task, args, folder):
        self.settings, self.task, self.folder = settings, task, folder
        folder.mkdir(parents=True)
        source = args.data / task["data"]
        s = settings
        train, held = data.write(folder, source, task, s["size"], s["seed"], s["split"])
        options = {
            "model": args.data / task["model"], "train": train, "eval": held, "out": folder / "out", "log": folder / "log.jsonl",
            "eval-every": 0, "save-every": 0, "method": s["method"], "lr": s["lr"], "seed": s["seed"], "steps": s["steps"],
            **task["options"], **s["options"],
        }  # fmt: skip
        command = [args.programs / task["program"]]
        for option, value in options.items():
            command += [f"--{option}"] + ([] if value is True else [str(value)])
        self.errors = open(folder / "errors", "w+b")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.errors)

    def result(self):
        status = self.process.returncode
        if status not in (0, 3):
            self.errors.seek(0)
            sys.exit(f"study.py: status {status}: {results.key(self.settings)}\n{self.errors.read().decode(errors='replace')}")
        return read_log(self.folder / "log.jsonl", self.task["measure"], status)

    def end(self):
        self.process.kill()
        self.process.wait()
        self.errors.close()
        shutil.rmtree(self.folder)


def execute(stage, study, path, late, stopped):
    """All runs of a stage that are not there yet, args.jobs at a time. False when the time was up before the last one; a signal ends it."""
    args = study.args
    todo = [s for s in stage if results.key(s) not in study.runs and s["name"] in (args.name or [s["name"]])]
    running = []
    try:
        while running or (todo and not late()):
            if stopped:
                sys.exit(128 + stopped[0])
            while todo and not stopped and len(running) < args.jobs and not late():
                s = todo.pop(0)
                running.append(Run(s, study.tasks[s["task"]], args, args.out / "running" / f"{len(study.runs)}-{len(todo)}"))
            for run in [r for r in running if r.process.poll() is not None]:
                result = run.result()
                results.append(path, run.settings, result)
                study.runs[results.key(run.settings)] = run.settings, result
                s = run.settings
                print(f"{s['part']} {s['task']} {s['size']} {s['split']} seed {s['seed']} lr {s['lr']:g} {s['name']}: {result['score']}", flush=True)
                running.remove(run)
                run.end()
            time.sleep(0.02)
    finally:
        for run in running:
            run.end()
    return not todo


def arguments():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description="Compare the methods on real data; see report.py for the tables.")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="folder of the models and data that tasks.json names")
    parser.add_argument("--programs", type=pathlib.Path, required=True, help="folder of finetune-text, finetune-lm, finetune-images")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("study"), help="results.jsonl goes here (study)")
    parser.add_argument("--tasks", type=pathlib.Path, default=here / "tasks.json", help="tasks, sizes, steps, learning rates")
    parser.add_argument("--plan", choices=("small", "full"), default="small", help="small: the first task and size, 2 seeds")
    parser.add_argument("--part", action="append", choices=("main", "equal", "stability", "ablation"), help="only this part; repeatable")
    parser.add_argument("--task", action="append", help="only this task; repeatable")
    parser.add_argument("--size", action="append", type=int, help="only this number of training examples; repeatable")
    parser.add_argument("--method", action="append", choices=METHODS, help="part main: only this method; repeatable")
    parser.add_argument("--name", action="append", help='only this variant, as the tables name it ("hora, act relu"); repeatable')
    parser.add_argument("--seeds", type=int, help="reported seeds (small: 2, full: 5)")
    parser.add_argument("--select-seeds", type=int, default=1, help="seeds that choose the learning rates (1)")
    parser.add_argument("--hours", type=float, default=float("inf"), help="start no run after so many hours")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time (1)")
    args = parser.parse_args()
    args.seeds = args.seeds or {"small": 2, "full": 5}[args.plan]
    return args


def main():
    args = arguments()
    end = time.monotonic() + 3600 * args.hours
    stopped = []  # the signal that did it; looked at between two runs' beginnings, so that none is left half begun
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: stopped.append(number))
    args.out.mkdir(parents=True, exist_ok=True)
    lock = open(args.out / "lock", "w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"study.py: {args.out}: another study.py is running there")
    shutil.rmtree(args.out / "running", ignore_errors=True)
    path = args.out / "results.jsonl"
    results.cut_torn_line(path)
    study = Study(json.loads(args.tasks.read_text(encoding="utf-8")), results.read(path), args)
    for stage in study.stages():
        if not execute(stage, study, path, lambda: time.monotonic() >= end, stopped):
            sys.exit("study.py: the time is up; the same command goes on from here")


if __name__ == "__main__":
    main()
