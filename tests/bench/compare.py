"""compare.py BUILD_DIR [--rounds N] [--only SECTION,...] - training steps, evaluation, memory and start of bench-step beside PyTorch
with PEFT, in turns of short runs. One JSON line per result on stdout. Python's standard library only.

    CLPEFT_TEST_MODEL     folder of MiniLM-L6
    CLPEFT_TEST_WORDNET   wordnet.tsv, with wordnet-test.tsv beside it; without it the ragged batches are left out
    CLPEFT_PEFT_PYTHON    a Python with torch, transformers and peft; without it there are no peers

Sections: product, norms, train, memory, start, share, scale."""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
METHODS = ["lora", "dora", "hora", "doran"]
options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
options.add_argument("build")
options.add_argument("--rounds", type=int, default=6)
options.add_argument("--only")
options = options.parse_args()
model = os.environ.get("CLPEFT_TEST_MODEL")
wordnet = os.environ.get("CLPEFT_TEST_WORDNET")
texts = wordnet and str(pathlib.Path(wordnet).with_name("wordnet-test.tsv"))
device = ""


def note(text):
    print(text, file=sys.stderr, flush=True)


# ---- who is measured ---------------------------------------------------------------------------------------------------


def ours(program, *arguments, **environment):
    """Run a program of this folder; its line of JSON, and what it wrote to stderr."""
    global device
    done = subprocess.run([f"{options.build}/tests/bench/bench-{program}", *map(str, arguments)], capture_output=True, text=True,
                          env={**os.environ, **environment})
    if done.returncode:
        sys.exit(f"bench-{program}: {done.stderr}")
    result = json.loads(done.stdout)
    device = result["device"]
    return result, done.stderr


def step(work, passes, *arguments, **environment):
    return ours("step", "--model", model, "--work", work, "--passes", passes, *arguments, **environment)[0]


class Peer:
    """peft.py as a server; None of its answers where there is no environment for it."""

    def __init__(self):
        self.python = os.environ.get("CLPEFT_PEFT_PYTHON")
        self.process = None

    def ask(self, **request):
        if not self.python:
            return None
        if not self.process:
            self.process = subprocess.Popen([self.python, str(HERE / "peft.py"), "serve", model], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            note("peer: " + self.process.stdout.readline().strip())
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def once(self, method):
        """first and peak of a fresh process."""
        if not self.python:
            return None
        command = [self.python, str(HERE / "peft.py"), "once", model, method, "32", "32", str(time.time_ns())]
        return json.loads(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout)


peer = Peer()


# ---- results -----------------------------------------------------------------------------------------------------------


def report(bench, what, shape, unit, mine, name=None, theirs=None, target=None, work=None):
    """Times mine and theirs; with work the value is work over time. Best is the least time."""
    def value(pick, times):
        return work / pick(times) if work else pick(times)

    row = {"device": device, "bench": bench, "what": what, "shape": shape, "unit": unit, "ours": value(min, mine),
           "ours_median": value(statistics.median, mine)}
    if theirs:
        row.update(peer=name, theirs=value(min, theirs), theirs_median=value(statistics.median, theirs))
        row.update(ratio=row["ours"] / row["theirs"], ratio_median=row["ours_median"] / row["theirs_median"])
    if target and (theirs or target.startswith("ours")):
        row["target"] = target
    print(json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in row.items()}), flush=True)


# ---- products and row norms: PyTorch's MKL, PEFT's norm ----------------------------------------------------------------


def product():
    for M, N, K in (1024, 384, 384), (1024, 1536, 384), (1024, 384, 1536), (2048, 2048, 2048):
        mine, theirs = [], []
        for _ in range(options.rounds):
            mine += ours("gemm", 1, M, N, K)[0]["ms"]
            answer = peer.ask(do="product", M=M, N=N, K=K, n=10)
            theirs += answer["ms"] if answer else []
        report("gemm", "linear", f"{M} x {N} x {K}", "GFLOPS", mine, "torch linear (MKL)", theirs, ">= 1", 2e-6 * M * N * K)


def norms():
    for rank, target in (4, "<= 0.0125"), (16, "<= 0.0286"):
        mine, theirs = [], []
        for _ in range(options.rounds):
            mine += ours("rownorm", 1, rank)[0]["ms"]
            answer = peer.ask(do="rownorm", N=4096, K=4096, rank=rank, n=3)
            theirs += answer["ms"] if answer else []
        report("rownorm", "row norms", f"4096 x 4096, r {rank}", "ms", mine, "PEFT", theirs, target)


# ---- training steps and evaluation -------------------------------------------------------------------------------------


def token_batches(work):
    """What peft.py trains on: dense batches of any tokens, or the texts of bench-step's eight batches."""
    if "x" in work and work.replace("x", "").isdigit():
        S, L = map(int, work.split("x"))
        return [[[1000 + (131 * q + t) % 20000 for t in range(L)] for q in range(S)]]
    code = ("import json,sys;from transformers import BertTokenizerFast;"
            "t=BertTokenizerFast.from_pretrained(sys.argv[1],do_lower_case=True);"
            "r=[l.rstrip('\\n').split('\\t',1)[1] for l in list(open(sys.argv[2],encoding='utf-8'))[:256]];"
            "print(json.dumps(t(r,truncation=True,max_length=128)['input_ids']))")
    rows = json.loads(subprocess.run([peer.python, "-c", code, model, work], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                     text=True, check=True).stdout)
    return [rows[i:i + 32] for i in range(0, 256, 32)]


def length_grouped(batches):
    rows = sorted((row for batch in batches for row in batch), key=len)
    return [rows[i:i + 32] for i in range(0, len(rows), 32)]


def measure(work, batches):
    """All in turns: name -> ms per step. Names: a method of ours, peft-lora, peft-dora, ...-grouped, evaluate, peft-evaluate."""
    times = {}
    for _ in range(options.rounds):
        result = step(work, 2, "--evaluate", *METHODS)
        for method in METHODS:
            times.setdefault(method, []).extend(result["train"][method])
        times.setdefault("evaluate", []).extend(result["evaluate"]["lora"])
        times["tokens"] = result["tokens"]
        n = 1 if len(batches) > 1 else 4
        requests = {"peft-lora": ("train", "lora", batches), "peft-dora": ("train", "dora", batches),
                    "peft-evaluate": ("evaluate", "lora", batches)}
        if len(batches) > 1:
            requests["peft-lora-grouped"] = ("train", "lora", length_grouped(batches))
            requests["peft-dora-grouped"] = ("train", "dora", length_grouped(batches))
            requests["peft-evaluate-grouped"] = ("evaluate", "lora", length_grouped(batches))
        for name, (do, method, rows) in requests.items():
            answer = peer.ask(do=do, method=method, batches=rows, n=n)
            if answer:
                times.setdefault(name, []).extend(answer["ms"])
                times[name + " tokens"] = answer["tokens"]
    return times


def train():
    for work, shape in ("32x32", "32 x 32 tokens"), ("8x128", "8 x 128 tokens"), (texts, "WordNet, batches of 32"):
        if not work:
            continue
        batches = token_batches(work) if peer.python else [[]] * (8 if work == texts else 1)
        t = measure(work, batches)
        ragged = work == texts
        if ragged:
            shape += f", {t['tokens']:.0f} tokens"
        padded = f", padded to {t['peft-lora tokens']:.0f} tokens" if ragged and peer.python else ""
        against_lora = "<= 0.33" if ragged else "<= 0.75"
        against_dora = None if ragged else "<= 0.7"
        for method, name, target in (("lora", "LoRA", against_lora), ("dora", "DoRA", against_dora), ("hora", "LoRA", None),
                                     ("doran", "DoRA", against_dora)):
            theirs = t.get("peft-" + name.lower())
            report("step", method, shape, "ms", t[method], f"PEFT {name}{padded}", theirs, target)
            if ragged and peer.python:
                grouped = f"peft-{name.lower()}-grouped"
                report("step", method, shape, "ms", t[method], f"PEFT {name}, length-grouped, {t[grouped + ' tokens']:.0f} tokens", t[grouped])
        for method, target in ("hora", "<= 1.02"), ("doran", "<= 1.04"):
            report("step", method, shape, "ms", t[method], "lora here", t["lora"], target)
        report("evaluate", "lora", shape, "tokens/s", t["evaluate"], f"torch, merged{padded}", t.get("peft-evaluate"),
               ">= 2.5" if ragged else ">= 1.15", 1e3 * t["tokens"])
        if ragged and peer.python:
            report("evaluate", "lora", shape, "tokens/s", t["evaluate"], "torch, merged, length-grouped", t["peft-evaluate-grouped"],
                   None, 1e3 * t["tokens"])


# ---- fresh processes ---------------------------------------------------------------------------------------------------


def memory():
    theirs = peer.once("lora")
    theirs = theirs and [theirs["peak"] / 1024]
    step("32x32", 0, "lora")  # compiles
    for what, flags in ("lora", []), ("lora, one copy of the weights", ["--one-copy"]), ("lora, weights f16", ["--weights", "f16"]):
        mine = [step("32x32", 1, *flags, "lora")["peak"] / 1024 for _ in range(2)]
        report("memory", what, "32 x 32 tokens", "MB", mine, "PEFT LoRA", theirs, None if flags else "<= 0.333")


def first(**environment):
    return step("32x32", 0, "--start", time.time_ns(), "lora", **environment)["first"] / 1e3


def start():
    cold, warm, theirs = [], [], []
    for _ in range(min(3, options.rounds)):
        with tempfile.TemporaryDirectory() as cache:
            empty = {"XDG_CACHE_HOME": cache, "POCL_CACHE_DIR": cache + "/pocl"}
            cold.append(first(**empty))
            warm += [first(**empty) for _ in range(3)]
        answer = peer.once("lora")
        theirs += [answer["first"] / 1e3] if answer else []
    report("start", "to the first step, warm cache", "32 x 32 tokens", "s", warm, "PEFT LoRA", theirs, "ours <= 1")
    report("start", "to the first step, cold cache", "32 x 32 tokens", "s", cold, "PEFT LoRA", theirs)


# ---- where a step's time goes ------------------------------------------------------------------------------------------


def shares(method):
    """Share of each kernel in the time of all kernels, from the table of CLPEFT_PROFILE."""
    _, table = ours("step", "--model", model, "--work", "32x32", "--passes", 4, method, CLPEFT_PROFILE="1")
    pathlib.Path(options.build, f"profile-{method}.txt").write_text(table)
    rows = (line.split() for line in table.splitlines() if "%" in line)
    return {cells[0]: float(cells[4].rstrip("%")) for cells in rows}


def share():
    runs = [{method: shares(method) for method in METHODS} for _ in range(3)]
    for method in METHODS:
        rest = [100 - run[method].get("product.product", 0) for run in runs]
        report("share", f"{method}: kernels other than the products", "32 x 32 tokens", "% of a step", rest, target="ours <= 15")
    for method in "hora", "doran":
        made = [sum(v for k, v in run[method].items() if k.startswith("generator.")) for run in runs]
        report("share", f"{method}: generator, forward and backward", "32 x 32 tokens", "% of a step", made, target="ours <= 2")


# ---- growth ------------------------------------------------------------------------------------------------------------


def scale():
    curves = {"batch": [f"{n // 32}x32" for n in (256, 512, 1024, 2048, 4096, 8192)],
              "length": [f"{4096 // n}x{n}" for n in (64, 128, 256, 512)]}
    for curve, works in curves.items():
        for work in works:
            result = [step(work, 2, "lora") for _ in range(max(2, options.rounds // 3))]
            report("scale", curve, work, "us per token", [1e3 * ms / r["tokens"] for r in result for ms in r["train"]["lora"]])
    for width in 192, 384, 768:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, str(HERE / "random_bert.py"), folder, str(width)], check=True)
            result = [step("32x32", 2, "--model", folder, "lora") for _ in range(max(2, options.rounds // 3))]
        report("scale", "width", f"{width}, 32x32", "us per token", [1e3 * ms / r["tokens"] for r in result for ms in r["train"]["lora"]])


sections = [product, norms, train, memory, start, share, scale]
for section in sections:
    if not options.only or section.__name__ in options.only.split(","):
        if model or section in (product, norms):
            section()
