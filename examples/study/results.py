"""results.py - the finished runs, one JSON line each: {"settings": {...}, "result": {...}}. A run is known by its settings."""
import json
import os
import statistics


def key(settings):
    return json.dumps(settings, sort_keys=True)


def read(path):
    """Key -> (settings, result). A last line without its end was being written when the power went; it counts as not run."""
    runs = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
            run = json.loads(line)
            runs[key(run["settings"])] = run["settings"], run["result"]
    return runs


def cut_torn_line(path):
    if path.exists():
        whole = path.read_bytes().rfind(b"\n") + 1
        if whole < path.stat().st_size:
            os.truncate(path, whole)


def append(path, settings, result):
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps({"settings": settings, "result": result}) + "\n")
        file.flush()
        os.fsync(file.fileno())


def matching(runs, **wanted):
    return [(s, r) for s, r in runs.values() if all(s[name] == value for name, value in wanted.items())]


def better(result):
    """A number that is larger for the better result, whatever it measures; a run without a result is the worst."""
    if result["score"] is None:
        return float("-inf")
    return -result["score"] if result["measure"] == "eval_loss" else result["score"]


def chosen_rate(runs, task, size, name):
    """The learning rate with the best mean on the validation rows, or None before any run; the smaller of two equals."""
    scores = {}
    for settings, result in matching(runs, task=task, size=size, name=name, split="validation"):
        scores.setdefault(settings["lr"], []).append(better(result))
    return max(sorted(scores), key=lambda rate: statistics.fmean(scores[rate])) if scores else None


def reported(runs, part, task, size, name):
    """Seed -> result of the test runs at the chosen learning rate; an ablation has the rate of its method."""
    rate = chosen_rate(runs, task, size, name)
    if part == "ablation":
        rate = chosen_rate(runs, task, size, name.split(",")[0])
    return {s["seed"]: r for s, r in matching(runs, part=part, task=task, size=size, name=name, split="test", lr=rate)}
