#!/usr/bin/env python3
"""peft_roundtrip.py FINETUNE_TEXT CLPEFT PEFT_LOGITS PEFT_FORWARD [MODEL_DIR] - there and back through PEFT itself.

Each method is trained here, exported, and loaded by PEFT without a warning: the logits are the same within 1e-3. There it is
trained on and saved; what comes back computes PEFT's logits and hidden states. Without MODEL_DIR on a tiny random model.
Status 77 where torch, transformers or peft is missing."""
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
try:
    import torch
    import transformers
    from peft import LoraConfig, PeftModel, get_peft_model
    from safetensors.torch import load_file, save_file
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

WORDS = {
    "fruit": "apple pear plum melon cherry".split(),
    "animal": "cat dog horse mouse bird".split(),
    "colour": "red green blue black white".split(),
}
METHODS = {
    "lora": [],
    "dora": ["--sites", "query,value,up:2:3,0.down"],
    "hora": ["--rslora"],
    "doran": ["--sites", "query,value,output"],
    "doran-f16": [],
}
BOUND = 1e-3

finetune, clpeft, peft_logits, peft_forward = sys.argv[1:5]
work = pathlib.Path(tempfile.mkdtemp())


def run(*words):
    result = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(str(w) for w in words)}\n{result.stdout}{result.stderr}")
    return result.stdout


def write_rows(path, count):
    rows = (random.choice(list(WORDS)) for _ in range(count))
    path.write_text("".join(f"{r}\tthe {random.choice(WORDS[r])} is {random.choice(WORDS[r])}\n" for r in rows))


def load(folder, trainable=False):
    """The classifier with an adapter; a warning of PEFT (missing keys) is an error."""
    base = transformers.BertForSequenceClassification.from_pretrained(model_dir, num_labels=3, attn_implementation="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return PeftModel.from_pretrained(base, folder, is_trainable=trainable)


def forward(model, batch):
    """Last hidden states, and the trainer's logits: the classifier on their mean over the tokens."""
    bert = model.base_model.model
    states = bert.bert(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
    weight = batch["attention_mask"].unsqueeze(-1).float()
    return states, bert.classifier((states * weight).sum(1) / weight.sum(1))


def our_logits(checkpoint):
    run(peft_logits, model_dir, checkpoint, work / "batch.safetensors", work / "logits.safetensors")
    return load_file(work / "logits.safetensors")["logits"]


def train_on(model, batch, out):
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(5):
        loss = torch.nn.functional.cross_entropy(forward(model, batch)[1], torch.tensor([2, 0, 1, 1]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(out)


def check(method, what, have, want):
    error = float((have - want).abs().max())
    print(f"{method}: {what}: largest error {error:.2g}, largest value {float(want.abs().max()):.2f}")
    return error <= BOUND


def round_trip(name, options, batch):
    method, _, dtype = name.partition("-")
    out, exported, trained = work / name, work / f"{name}-peft", work / f"{name}-trained"
    run(finetune, "--model", model_dir, "--train", work / "train.tsv", "--eval", work / "eval.tsv", "--method", method,
        "--rank", 4, "--steps", 20, "--lr", 0.01, "--out", out, *options)
    run(clpeft, "export", out, "--to", "peft", "--out", exported, "--base", "some/model", "--type", dtype or "keep")
    with torch.no_grad():
        logits = forward(load(exported).eval(), batch)[1]
    good = check(name, "exported", logits, our_logits(out / "checkpoint.safetensors")) or dtype == "f16"

    model = load(exported, trainable=True)
    train_on(model, batch, trained)
    with torch.no_grad():
        states, after = forward(model.eval(), batch)
        merged = forward_merged(load(trained), batch)
    good &= float((after - logits).abs().max()) > 0.1
    run(clpeft, "import", trained, "--model", model_dir, "--out", work / f"{name}-back")
    good &= check(name, "trained on and back", our_logits(work / f"{name}-back" / "checkpoint.safetensors"), after)
    save_file({**batch, "last_hidden_state": states.contiguous(), "last_hidden_state_merged": merged}, work / "expected.safetensors")
    print(run(peft_forward, model_dir, trained, work / "expected.safetensors"), end="")
    return good


def forward_merged(model, batch):
    merged = model.merge_and_unload().eval()
    return merged.bert(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state.contiguous()


def decoder():
    """An adapter of a small decoder, made by PEFT: in, out again, and merged, it computes the same logits."""
    llama, adapter, back, again, merged = (work / name for name in ("llama", "llama-peft", "llama-back", "llama-again", "llama-merged"))
    config = transformers.LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                                      num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=True)
    transformers.LlamaForCausalLM(config).save_pretrained(llama)

    def logits(path, folder=None):
        model = transformers.LlamaForCausalLM.from_pretrained(path)
        with torch.no_grad():
            return (PeftModel.from_pretrained(model, folder) if folder else model).eval()(input_ids=torch.arange(9)[None]).logits

    model = get_peft_model(transformers.LlamaForCausalLM.from_pretrained(llama),
                           LoraConfig(r=3, lora_alpha=7, target_modules="all-linear", task_type="CAUSAL_LM", use_dora=True))
    for name, p in model.named_parameters():
        if "lora_B" in name:
            p.data += 0.1 * torch.randn(p.shape)
    model.save_pretrained(adapter)
    run(clpeft, "import", adapter, "--model", llama, "--out", back)
    run(clpeft, "export", back, "--to", "peft", "--out", again)
    run(clpeft, "merge", back, "--out", merged)
    want = logits(llama, adapter)
    return check("decoder", "in and out", logits(llama, again), want) & check("decoder", "merged", logits(merged), want) & (
        float((want - logits(llama)).abs().max()) > 0.01)


def vision(name, config):
    """An adapter of a small vision transformer, made by PEFT: in, out again, and merged, its features are the same."""
    vit, adapter, back, again, merged = (work / f"{name}{part}" for part in ("", "-peft", "-back", "-again", "-merged"))
    kind = transformers.AutoModel.from_config(config).__class__
    kind(config).save_pretrained(vit)

    def features(path, folder=None):
        model = kind.from_pretrained(path)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            return (PeftModel.from_pretrained(model, folder) if folder else model).eval()(pixel_values=images).last_hidden_state

    images = torch.randn(2, 3, 12, 12)
    lora = LoraConfig(r=3, lora_alpha=7, target_modules=["q_proj", "v_proj", "o_proj", "fc1", "fc2"], use_dora=True)
    model = get_peft_model(kind.from_pretrained(vit), lora)
    for key, p in model.named_parameters():
        if "lora_B" in key:
            p.data += 0.1 * torch.randn(p.shape)
    model.save_pretrained(adapter)
    run(clpeft, "import", adapter, "--model", vit, "--classes", 2, "--out", back)
    run(clpeft, "export", back, "--to", "peft", "--out", again, "--no-head")
    run(clpeft, "merge", back, "--out", merged)
    want = features(vit, adapter)
    return check(name, "in and out", features(vit, again), want) & check(name, "merged", features(merged), want) & (
        float((want - features(vit)).abs().max()) > 0.01)


def main():
    torch.manual_seed(1)
    random.seed(1)
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    write_rows(work / "train.tsv", 300)
    write_rows(work / "eval.tsv", 30)
    mask = torch.tensor([[int(i < n) for i in range(12)] for n in (12, 7, 3, 1)])
    batch = {"input_ids": torch.randint(5, 26, mask.shape) * mask, "attention_mask": mask}
    save_file(batch, work / "batch.safetensors")
    results = [round_trip(name, options, batch) for name, options in METHODS.items()] + [decoder()]
    small = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, image_size=12, patch_size=3)
    results += [vision("dinov2", transformers.Dinov2Config(mlp_ratio=2, **small)),
                vision("vit", transformers.ViTConfig(intermediate_size=40, **small))]
    sys.exit(0 if all(results) else "a round trip changed the numbers")


try:
    if len(sys.argv) > 5:
        model_dir = sys.argv[5]
    else:
        model_dir = work / "model"
        subprocess.run([sys.executable, pathlib.Path(__file__).parent / "make_tiny_bert.py", model_dir], check=True)
    main()
finally:
    subprocess.run(["rm", "-rf", work], check=True)
