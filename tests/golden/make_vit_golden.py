#!/usr/bin/env python3
"""Make tests/golden/vit: what transformers computes.  make_vit_golden.py [DINOV2_DIR]

    NAME/config.json, NAME/model.safetensors    small random models, of ViTModel and of Dinov2Model
    NAME.safetensors, dinov2-small.safetensors  hidden.SIZE [images,rows,width]: of images of SIZE pixels every k-th
                                                row of the last hidden states, k = max(1, tokens / 16)

Pixel i of a batch is ((i * 2654435761 mod 2^32) >> 8) / 2^23 - 1. dinov2-small needs the folder that
examples/data/dinov2.sh makes. Needs torch, transformers, safetensors."""
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTModel

HERE = Path(__file__).parent / "vit"
SMALL = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, image_size=12, patch_size=3)


def pixels(images, channels, size):
    i = torch.arange(images * channels * size * size, dtype=torch.int64)
    values = ((i * 2654435761 % 2**32) >> 8).double() / 2**23 - 1
    return values.float().reshape(images, channels, size, size)


def randomize(model):
    """Nothing stays at zero or one."""
    torch.manual_seed(6)
    with torch.no_grad():
        for name, p in model.named_parameters():
            middle = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            p.copy_(middle + 0.3 * torch.randn(p.shape))


def golden(model, name, images, channels, sizes):
    tensors = {}
    for size in sizes:
        options = {"interpolate_pos_encoding": True} if isinstance(model, ViTModel) else {}
        with torch.no_grad():
            hidden = model(pixels(images, channels, size), **options).last_hidden_state
        tensors[f"hidden.{size}"] = hidden[:, ::max(1, hidden.shape[1] // 16)].contiguous()
    save_file(tensors, HERE / f"{name}.safetensors")


HERE.mkdir(exist_ok=True)
vit = ViTModel(ViTConfig(intermediate_size=40, num_channels=2, qkv_bias=False, **SMALL), add_pooling_layer=False)
dinov2 = Dinov2Model(Dinov2Config(mlp_ratio=2, num_channels=3, **SMALL))
for name, model, channels in (("vit", vit, 2), ("dinov2", dinov2, 3)):
    randomize(model)
    model.eval().save_pretrained(HERE / name)
    golden(model, name, 2, channels, (12, 15, 6))
if len(sys.argv) > 1:
    golden(Dinov2Model.from_pretrained(sys.argv[1]).eval(), "dinov2-small", 1, 3, (56, 112, 224))
