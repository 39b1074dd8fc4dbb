"""peft.py - the peer: PyTorch with Hugging Face's PEFT. Run by compare.py in the environment of $CLPEFT_PEFT_PYTHON (torch,
transformers, peft), not by hand.

    peft.py serve MODEL            reads requests from stdin, one JSON object per line, and answers each with one line:
        {"do": "product", "M":, "N":, "K":, "n":}              y = x w^T                        -> {"ms": [...]}
        {"do": "rownorm", "N":, "K":, "rank":, "n":}           DoRA's row norm as PEFT does it  -> {"ms": [...]}
        {"do": "train", "method":, "batches":, "n":}           a step: n passes over batches    -> {"ms": [...], "tokens":}
        {"do": "evaluate", "method":, "batches":, "n":}        forward only, merged, no_grad
      batches: a list of batches, each a list of sequences of token ids. Times are per batch, tokens with padding, per batch.
    peft.py once MODEL METHOD S L START    one step, in a fresh process -> {"first": ms since START, "peak": kB}

The model, its head, the loss and the optimizer are those of bench-step: no dropout, mean pooling, 26 classes, rank 8, alpha 16, query
and value, AdamW, clipping to norm 1. Two threads."""
import json
import sys
import time

sys.path.pop(0)  # this folder: its peft.py is not the package of that name

import torch
import peft
from transformers import BertConfig, BertModel

CLASSES = 26
torch.set_num_threads(2)


class Classifier(torch.nn.Module):
    def __init__(self, path, method):
        super().__init__()
        config = BertConfig.from_pretrained(path, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        bert = BertModel.from_pretrained(path, config=config, add_pooling_layer=False)
        lora = peft.LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules=["query", "value"], use_dora=method == "dora")
        self.bert = peft.get_peft_model(bert, lora)
        self.head = torch.nn.Linear(config.hidden_size, CLASSES)

    def forward(self, ids, mask):
        hidden = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        weight = mask.unsqueeze(-1).to(hidden.dtype)
        return self.head(4 * (hidden * weight).sum(1) / weight.sum(1))


class Trainer:
    def __init__(self, path, method):
        self.model = Classifier(path, method).train()
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-3, weight_decay=0.0)

    def step(self, ids, mask, labels):
        loss = torch.nn.functional.cross_entropy(self.model(ids, mask), labels)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        return loss.item()


def padded(batch):
    """Sequences of ids -> ids, mask, labels: padded to the longest, as a data collator does."""
    longest = max(map(len, batch))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in batch])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in batch])
    return ids, mask, torch.arange(len(batch)) % CLASSES


def timed(n, run):
    """ms of n calls, after one that is not counted."""
    run()
    times = []
    for _ in range(n):
        start = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - start))
    return times


class Server:
    def __init__(self, path):
        self.path = path
        self.trainers, self.merged = {}, {}

    def product(self, M, N, K, n):
        x, w = torch.rand(M, K), torch.rand(N, K)
        with torch.no_grad():
            return {"ms": timed(n, lambda: torch.nn.functional.linear(x, w))}

    def rownorm(self, N, K, rank, n):
        layer = peft.tuners.lora.dora.DoraLinearLayer(fan_in_fan_out=False)
        w, a, b = torch.rand(N, K), torch.nn.Linear(K, rank, bias=False), torch.nn.Linear(rank, N, bias=False)
        with torch.no_grad():
            return {"ms": timed(n, lambda: layer.get_weight_norm(w, layer.get_lora_weight(a, b), 2.0))}

    def passes(self, batches, n, run):
        work = [padded(batch) for batch in batches]

        def all_batches():
            for item in work:
                run(*item)

        return {"ms": [t / len(work) for t in timed(n, all_batches)],
                "tokens": sum(ids.numel() for ids, _, _ in work) / len(work)}

    def train(self, method, batches, n):
        if method not in self.trainers:
            self.trainers[method] = Trainer(self.path, method)
        return self.passes(batches, n, self.trainers[method].step)

    def evaluate(self, method, batches, n):
        if method not in self.merged:
            self.merged[method] = Classifier(self.path, method).eval()
            self.merged[method].bert = self.merged[method].bert.merge_and_unload()
        model = self.merged[method]
        with torch.no_grad():
            return self.passes(batches, n, lambda ids, mask, labels: model(ids, mask).argmax(1).tolist())


def peak_memory():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def main():
    if sys.argv[1] == "once":
        path, method, sequences, length, start = sys.argv[2:]
        trainer = Trainer(path, method)
        trainer.step(*padded([[1000 + (7 * i + j) % 20000 for j in range(int(length))] for i in range(int(sequences))]))
        first = 1e3 * time.time() - 1e-6 * int(start)
        for _ in range(2):
            trainer.step(*padded([[1000 + j for j in range(int(length))]] * int(sequences)))
        print(json.dumps({"first": first, "peak": peak_memory()}))
        return
    server = Server(sys.argv[2])
    print(json.dumps({"torch": torch.__version__, "peft": peft.__version__}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(getattr(server, request.pop("do"))(**request)), flush=True)


main()
