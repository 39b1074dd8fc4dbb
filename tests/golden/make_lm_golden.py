#!/usr/bin/env python3
"""Make lm.json: what transformers computes with a GGUF file, dequantized to f32:  make_lm_golden.py MODEL.gguf > lm.json
For every prompt its token ids, of the logits after its last token the norm, the 16 largest, and every STEP-th, and the
32 tokens of greedy continuation. Needs torch, transformers, gguf."""
import json
import os
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

STEP, TOP, GREEDY = 97, 16, 32
PROMPTS = [
    "The capital of France is",
    "<|im_start|>user\nExplain in one sentence why the sky is blue.<|im_end|>\n<|im_start|>assistant\n",
    "def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n",
]

folder, name = os.path.split(os.path.abspath(sys.argv[1]))
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32).eval()
cases = []
with torch.no_grad():
    for prompt in PROMPTS:
        ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
        logits = model(ids).logits[0, -1]
        top = logits.topk(TOP)
        tokens = ids
        for _ in range(GREEDY):
            tokens = torch.cat([tokens, model(tokens).logits[:, -1].argmax(-1, keepdim=True)], 1)
        cases.append({
            "prompt": prompt,
            "ids": ids[0].tolist(),
            "norm": logits.norm().item(),
            "top": [[i, round(v, 6)] for i, v in zip(top.indices.tolist(), top.values.tolist())],
            "sample": [round(v, 6) for v in logits[::STEP].tolist()],
            "greedy": tokens[0, ids.shape[1]:].tolist(),
        })
print(json.dumps({"file": name, "step": STEP, "cases": cases}))
