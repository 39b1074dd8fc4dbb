#!/usr/bin/env python3
"""make_peft_fixtures.py OUT - writes tests/fixtures/peft: adapters that PEFT made for the model of make_tiny_bert.py, and what PEFT
computes with them (the tensors are listed in peft-forward.c). Needs torch, transformers, peft and safetensors.

The variants cover what a folder may hold besides plain LoRA: other scales, ranks and alphas by pattern, part of the layers, a
wrapped classifier with its head, narrow and wide types."""
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import BertForSequenceClassification, BertModel

FULL = [f"encoder.layer.{i}.{m}" for i in range(2) for m in ("attention.self.key", "attention.output.dense", "output.dense")]
VARIANTS = {
    "patterns": dict(dtype=torch.float32, config=dict(
        r=3, lora_alpha=5, use_rslora=True, target_modules=["query", "value", "intermediate.dense"],
        rank_pattern={r"layer\.1\..*query": 2, "value": 5}, alpha_pattern={"^encoder.layer.0.attention.self.(query|value)": 2.5, "value": 7})),
    "part": dict(dtype=torch.bfloat16, config=dict(
        r=4, lora_alpha=8, use_dora=True, target_modules=["query", "key"], layers_to_transform=[1], exclude_modules=["key"])),
    "dense": dict(dtype=torch.float64, config=dict(
        r=2, lora_alpha=9, use_dora=True, target_modules=FULL, fan_in_fan_out=True, lora_dropout=0.1)),
    "classifier": dict(dtype=torch.float16, config=dict(
        r=4, lora_alpha=4, target_modules=r".*\.attention\.self\.(query|value)", task_type="SEQ_CLS")),
}


def base(folder, variant):
    if variant["config"].get("task_type") == "SEQ_CLS":
        return BertForSequenceClassification.from_pretrained(folder, num_labels=3, attn_implementation="eager")
    return BertModel.from_pretrained(folder, attn_implementation="eager")


def hidden(model, ids, mask):
    model.eval()
    with torch.no_grad():
        return getattr(model, "bert", model)(input_ids=ids, attention_mask=mask).last_hidden_state.contiguous()


def batch():
    lengths, width = [9, 4, 1], 9
    mask = torch.tensor([[int(i < n) for i in range(width)] for n in lengths])
    return torch.randint(5, 20, mask.shape) * mask, mask


def make(name, variant, folder, out):
    torch.manual_seed(len(name))
    ids, mask = batch()
    model = get_peft_model(base(folder, variant), LoraConfig(**variant["config"]))
    for n, p in model.named_parameters():
        if "lora_" in n:
            p.data += 0.1 * torch.randn(p.shape)
    adapter = out / name / "adapter"
    model.save_pretrained(adapter)
    narrow = {k: v.to(variant["dtype"]) for k, v in load_file(adapter / "adapter_model.safetensors").items()}
    save_file(narrow, adapter / "adapter_model.safetensors", {"format": "pt"})
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "tiny-bert"
    (adapter / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True))
    (adapter / "README.md").unlink()

    model = PeftModel.from_pretrained(base(folder, variant), adapter)
    tensors = {"input_ids": ids, "attention_mask": mask, "last_hidden_state": hidden(model.base_model.model, ids, mask)}
    tensors["last_hidden_state_merged"] = hidden(model.merge_and_unload(), ids, mask)
    plain = hidden(base(folder, variant), ids, mask)
    save_file(tensors, out / name / "expected.safetensors")
    print(f"{name}: {(tensors['last_hidden_state'] - plain).abs().max():.2f} away from the base model")


def main():
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, pathlib.Path(__file__).parent / "make_tiny_bert.py", folder], check=True)
        for name, variant in VARIANTS.items():
            make(name, variant, folder, pathlib.Path(sys.argv[1]))


main()
