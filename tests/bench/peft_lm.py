#!/usr/bin/env python3
"""peft_lm.py MODEL.gguf TRAIN.jsonl EVAL.jsonl [--steps N] [--tokens N] [--rank R] [--sites LIST] [--lr X] [--seed N] [--eval-rows N]
- PyTorch with PEFT's LoRA on the dequantized model, doing what finetune-lm does: rows {"prompt","completion"} in random order,
packed to full batches in which no row sees another, the loss on the completion and its end mark, AdamW with warm-up and linear
decay. One JSON line per step and evaluation, as in finetune-lm's log. Needs torch, transformers, peft and gguf."""
import argparse
import json
import math
import os
import random
import resource
import sys
import time

del sys.path[0]  # a file peft.py stands beside this one
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
options.add_argument("model")
options.add_argument("train")
options.add_argument("eval")
options.add_argument("--steps", type=int, default=250)
options.add_argument("--tokens", type=int, default=512)
options.add_argument("--rank", type=int, default=8)
options.add_argument("--alpha", type=float, default=16)
options.add_argument("--sites", default="q_proj,v_proj")
options.add_argument("--lr", type=float, default=1e-3)
options.add_argument("--warmup", type=int, default=20)
options.add_argument("--seed", type=int, default=1)
options.add_argument("--eval-rows", type=int, default=1 << 30)
options = options.parse_args()

torch.manual_seed(options.seed)
folder, name = os.path.split(os.path.abspath(options.model))
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32, attn_implementation="sdpa")
model = get_peft_model(model, LoraConfig(r=options.rank, lora_alpha=options.alpha, target_modules=options.sites.split(","),
                                         task_type="CAUSAL_LM"))


def read(path):
    """Rows of (tokens, labels): a label is the next token, -100 where it does not count."""
    rows = []
    for line in open(path, encoding="utf-8"):
        row = json.loads(line)
        prompt = tokenizer(row["prompt"], add_special_tokens=False).input_ids
        completion = tokenizer(row["completion"], add_special_tokens=False).input_ids + [tokenizer.eos_token_id]
        tokens = (prompt + completion)[:-1][:options.tokens]
        labels = ([-100] * (len(prompt) - 1) + completion)[:options.tokens]
        rows.append((tokens, labels))
    return rows


def pack(rows):
    """One batch: ids, positions, labels, and a mask by which a token sees those of its row before it."""
    ids = [t for tokens, _ in rows for t in tokens]
    labels = [t for _, of_row in rows for t in of_row]
    positions = [i for tokens, _ in rows for i in range(len(tokens))]
    row = torch.tensor([i for i, (tokens, _) in enumerate(rows) for _ in tokens])
    sees = (row[:, None] == row[None, :]) & torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
    mask = torch.zeros(1, 1, len(ids), len(ids)).masked_fill_(~sees, torch.finfo(torch.float32).min)
    return torch.tensor([ids]), torch.tensor([positions]), torch.tensor([labels]), mask


def packs(rows, order):
    """Full batches of whole rows in the order given."""
    batch, tokens = [], 0
    for i in order:
        if tokens + len(rows[i][0]) > options.tokens:
            yield batch
            batch, tokens = [], 0
        batch.append(rows[i])
        tokens += len(rows[i][0])
    yield batch


def endless(rows):
    while True:
        order = list(range(len(rows)))
        random.shuffle(order)
        *full, _ = packs(rows, order)
        yield from full


def summed_loss(batch):
    ids, positions, labels, mask = pack(batch)
    logits = model(input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits[0], labels[0], ignore_index=-100, reduction="sum"), int((labels >= 0).sum())


def evaluate(step, rows):
    total, counted = 0.0, 0
    model.eval()
    with torch.no_grad():
        for batch in packs(rows, range(len(rows))):
            loss, n = summed_loss(batch)
            total, counted = total + loss.item(), counted + n
    model.train()
    print(json.dumps({"step": step, "eval_loss": total / counted, "eval_perplexity": math.exp(total / counted)}), flush=True)


def factor(step):
    if step < options.warmup:
        return (step + 1) / options.warmup
    return max(0.0, (options.steps - step) / max(1, options.steps - options.warmup))


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


random.seed(options.seed)
train, held_out = read(options.train), read(options.eval)[:options.eval_rows]
adamw = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=options.lr, weight_decay=0.0)
schedule = torch.optim.lr_scheduler.LambdaLR(adamw, factor)
seconds = []
batches = endless(train)
evaluate(0, held_out)
model.train()
for step in range(options.steps):
    batch = next(batches)
    start, used = time.monotonic(), cpu_seconds()
    loss, counted = summed_loss(batch)
    (loss / counted).backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    adamw.step()
    schedule.step()
    adamw.zero_grad(set_to_none=True)
    seconds.append(time.monotonic() - start)
    print(json.dumps({"step": step + 1, "loss": loss.item() / counted, "tokens": sum(len(t) for t, _ in batch),
                      "seconds": seconds[-1], "cpu_seconds": cpu_seconds() - used}), flush=True)
evaluate(options.steps, held_out)
print(json.dumps({"done": True, "seconds_per_step": sorted(seconds)[len(seconds) // 2] if seconds else 0,
                  "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
                  "peak_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
