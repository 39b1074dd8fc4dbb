#!/usr/bin/env python3
"""peft_images.py MODEL_DIR [--random | --pixels] [--rows N] [--test N] [--size N] [--steps N] [--batch N] [--seed N] - PyTorch
with PEFT's LoRA on a DINOv2 model, doing what finetune-images does on Fashion-MNIST: the first 1,000 training images, enlarged to 56
pixels, 150 steps of 32; LoRA of rank 8 on query and value, a linear head on the class token, AdamW with warm-up and linear decay.
    --random    the same on a model with random weights: what pretraining brings
    --pixels    logistic regression on the raw 28 x 28 pixels instead
One JSON line per step, and one with the accuracy on the first N test images (10,000) and the peak memory. Needs torch, transformers
and peft, and the Debian package dataset-fashion-mnist."""
import argparse
import gzip
import json
import sys
import time

del sys.path[0]  # a file peft.py stands beside this one
import torch
from peft import LoraConfig, get_peft_model
from transformers import Dinov2Config, Dinov2Model

DATA = "/usr/share/datasets/fashion-mnist"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLASSES = 10
options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
options.add_argument("model")
options.add_argument("--random", action="store_true")
options.add_argument("--pixels", action="store_true")
options.add_argument("--rows", type=int, default=1000)
options.add_argument("--test", type=int, default=10000)
options.add_argument("--size", type=int, default=56)
options.add_argument("--steps", type=int, default=150)
options.add_argument("--batch", type=int, default=32)
options.add_argument("--lr", type=float, default=1e-3)
options.add_argument("--head-lr", type=float, default=1e-2)
options.add_argument("--warmup", type=int, default=20)
options.add_argument("--seed", type=int, default=1)
options = options.parse_args()
torch.manual_seed(options.seed)


def idx(name, rows, header):
    with gzip.open(f"{DATA}/{name}-ubyte.gz") as file:
        return torch.frombuffer(bytearray(file.read()[header:]), dtype=torch.uint8).reshape(-1, *rows)


def images(part, count):
    return idx(f"{part}-images-idx3", (28, 28), 16)[:count].float(), idx(f"{part}-labels-idx1", (), 8)[:count].long()


def enlarged(gray):
    """Three equal channels, resized and normalised."""
    wide = torch.nn.functional.interpolate(gray[:, None], size=(options.size, options.size), mode="bicubic", antialias=True)
    rgb = wide.clamp(0, 255).expand(-1, 3, -1, -1) / 255
    return (rgb - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]


class Classifier(torch.nn.Module):
    def __init__(self):
        super().__init__()
        base = Dinov2Model(Dinov2Config.from_pretrained(options.model)) if options.random else Dinov2Model.from_pretrained(options.model)
        self.vit = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value", "q_proj", "v_proj"]))
        self.head = torch.nn.Linear(base.config.hidden_size, CLASSES)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)

    def forward(self, pixels):
        return self.head(self.vit(pixel_values=pixels).last_hidden_state[:, 0])


def factor(step):
    if step < options.warmup:
        return (step + 1) / options.warmup
    return (options.steps - step) / max(1, options.steps - options.warmup)


def batches(count):
    """Endless, each row once per epoch."""
    order = []
    while True:
        while len(order) < options.batch:
            order += torch.randperm(count).tolist()
        yield order[:options.batch]
        order = order[options.batch:]


def train(model, gray, labels):
    low_rank = [p for name, p in model.named_parameters() if p.requires_grad and "lora" in name]
    adamw = torch.optim.AdamW([{"params": low_rank}, {"params": model.head.parameters(), "lr": options.head_lr}], lr=options.lr,
                              weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(adamw, factor)
    rows = batches(len(gray))
    model.train()
    for step in range(options.steps):
        batch = next(rows)
        start = time.monotonic()
        loss = torch.nn.functional.cross_entropy(model(enlarged(gray[batch])), labels[batch])
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        adamw.step()
        schedule.step()
        adamw.zero_grad(set_to_none=True)
        print(json.dumps({"step": step + 1, "loss": loss.item(), "seconds": time.monotonic() - start}), flush=True)


def accuracy(predict, gray, labels):
    right = 0
    with torch.no_grad():
        for i in range(0, len(gray), options.batch):
            right += int((predict(gray[i:i + options.batch]).argmax(1) == labels[i:i + options.batch]).sum())
    return right / max(1, len(gray))


def logistic_regression(gray, labels):
    """Maximum likelihood with a penalty of half the squared norm of the weights, to convergence."""
    layer = torch.nn.Linear(784, CLASSES)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=500, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(layer(gray.flatten(1) / 255), labels, reduction="sum") + layer.weight.square().sum() / 2
        loss.backward()
        return loss

    optimizer.step(closure)
    return lambda batch: layer(batch.flatten(1) / 255)


def peak_memory():
    with open("/proc/self/status") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


train_set, test_set = images("train", options.rows), images("t10k", options.test)
if options.pixels:
    predict = logistic_regression(*train_set)
else:
    model = Classifier()
    train(model, *train_set)
    model.eval()
    predict = lambda batch: model(enlarged(batch))
print(json.dumps({"done": True, "accuracy_after": accuracy(predict, *test_set), "peak_memory_bytes": peak_memory()}))
