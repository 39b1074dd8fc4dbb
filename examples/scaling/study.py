"""study.py MEASURED.json [CHART.svg] - how far data parallel training of an adapter scales: the tables of README.md on stdout, and the chart, by
gnuplot.

A step of n ranks with T tokens each:
    compute   4 P T / F            P weights of the frozen layers; forward, and backward to the input; F measured, or a rate assumed
    wait      for the slowest of n ranks whose times vary by the measured spread: simulated
    send      2 (n-1)/n S / B + 2 (n-1) a     S = 4 bytes x parameters of the adapter, B bytes/s of a link, a: seconds per message
              (as built: each rank adds one n-th of all ranks' gradients, and the sums are gathered)
    tree      the same bytes, in 2 log2(n) messages
"""
import functools
import json
import math
import random
import subprocess
import sys

# width, layers, width of key and value, ffn: of the models' configs (SmolLM2-135M, Llama 2 7B and 70B)
MODELS = {"135M": (576, 30, 192, 1536), "7B": (4096, 32, 4096, 11008), "70B": (8192, 80, 1024, 28672)}
RANKS, LINKS = (8, 64, 1024), (10, 100)  # Gbit/s
TOKENS, MESSAGE, ACCELERATOR = 2048, 10e-6, 100e12  # of a rank and step; s; an assumed accelerator's sustained FLOP/s


def shapes(model):
    """[N, K] of a block's linear layers: query, key, value, output, gate, up, down."""
    width, _, kv, ffn = MODELS[model]
    return [(width, width), (kv, width), (kv, width), (width, width), (ffn, width), (ffn, width), (width, ffn)]


def weights(model):
    return MODELS[model][1] * sum(n * k for n, k in shapes(model))


def adapter_bytes(model, rank, sites):
    return 4 * MODELS[model][1] * rank * sum(sum(shapes(model)[i]) for i in sites)


ADAPTERS = {"r 8, query + value": (8, (0, 2)), "r 16, all layers": (16, range(7))}


def send(n, size, gbit, tree=False):
    messages = 2 * math.log2(n) if tree else 2 * (n - 1)
    return 2 * (n - 1) / n * size / (gbit * 1e9 / 8) + messages * MESSAGE if n > 1 else 0


@functools.cache
def slowest(n, spread, trials=200):
    """Mean of the largest of n times with mean 1."""
    draw = random.Random(1).gauss
    return sum(max(draw(1, spread) for _ in range(n)) for _ in range(trials)) / trials


def duration(seconds):
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:,.0f} s"


def table(header, rows):
    print("| " + " | ".join(header) + " |\n" + "|---" * len(header) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def check(m):
    """Two ranks on two cores against the sum of its parts."""
    predicted = m["half_batch_s"] * slowest(2, m["spread"]) + m["two_ranks_sending_s"]
    table(("two ranks on two cores", ""), [
        ("one rank, whole batch", duration(m["one_rank_s"])), ("one rank, half of it", duration(m["half_batch_s"])),
        ("sum of the gradients, measured", duration(m["two_ranks_sending_s"])), ("two ranks, predicted", duration(predicted)),
        ("two ranks, measured", duration(m["two_ranks_s"])), ("speedup", f"{m['one_rank_s'] / m['two_ranks_s']:.2f}")])


def sizes():
    table(("model", "weights", *(f"bytes a step, {name}" for name in ADAPTERS), "the same, of full gradients"), [
        (model, f"{weights(model) / 1e9:.2f} G", *(f"{adapter_bytes(model, *a) / 1e6:,.1f} MB" for a in ADAPTERS.values()),
         f"{4 * weights(model) / 1e9:,.1f} GB") for model in MODELS])


def efficiency(rate, spread, model, adapter, n, gbit, tree=False):
    compute = 4 * weights(model) * TOKENS / rate
    return compute / (compute * slowest(n, spread) + send(n, adapter_bytes(model, *adapter), gbit, tree))


def times(m):
    adapter = ADAPTERS["r 16, all layers"]
    for name, rate in (("measured core", m["gflops"] * 1e9), ("accelerator of 100 TFLOP/s", ACCELERATOR)):
        print(f"{name}, {TOKENS} tokens a rank, r 16 on all layers\n")
        table(("model", "ranks", "compute", *(f"send, {g} Gbit" for g in LINKS), *(f"efficiency, {g} Gbit" for g in LINKS), "as a tree, 100 Gbit"), [
            (model, str(n), duration(4 * weights(model) * TOKENS / rate),
             *(duration(send(n, adapter_bytes(model, *adapter), g)) for g in LINKS),
             *(f"{100 * efficiency(rate, m['spread'], model, adapter, n, g):.1f} %" for g in LINKS),
             f"{100 * efficiency(rate, m['spread'], model, adapter, n, 100, True):.1f} %") for model in MODELS for n in RANKS])


def ends():
    """Tokens of a rank and step at which sending takes as long as computing, on the accelerator."""
    adapter = ADAPTERS["r 16, all layers"]
    table(("model", *(f"{n} ranks, {g} Gbit" for n in RANKS for g in LINKS)), [
        (model, *(f"{math.ceil(send(n, adapter_bytes(model, *adapter), g) * ACCELERATOR / 4 / weights(model)):,}" for n in RANKS for g in LINKS))
        for model in MODELS])


def chart(m, path):
    adapter, counts = ADAPTERS["r 16, all layers"], [2 ** i for i in range(11)]
    lines, data = [], ""
    for model in MODELS:
        for dash, link in enumerate(LINKS, 1):
            values = "\n".join(f"{n} {100 * efficiency(ACCELERATOR, m['spread'], model, adapter, n, link)}" for n in counts)
            data += f"$d{len(lines)} << E\n{values}\nE\n"
            lines.append(f"$d{len(lines)} with lines lw 2 dt {dash} lc {list(MODELS).index(model) + 1} title '{model}, {link} Gbit'")
    subprocess.run(["gnuplot"], input=f"""set terminal svg size 720,420 background 'white'
set output '{path}'
set logscale x 2
set xlabel 'ranks'
set ylabel 'efficiency, %'
set yrange [0:105]
set grid
set key outside right
set title '{TOKENS} tokens a rank, r 16 on all layers, 100 TFLOP/s'
{data}plot {", ".join(lines)}
""", text=True, check=True)


def main():
    measured = json.load(open(sys.argv[1], encoding="utf-8"))
    check(measured)
    sizes()
    times(measured)
    ends()
    if len(sys.argv) > 2:
        chart(measured, sys.argv[2])


main()
