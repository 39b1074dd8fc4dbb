#!/usr/bin/env python3
"""Make tests/golden/image: ten small images, what Pillow decodes them to, and what torch resizes them to.

    NAME.png, NAME.jpg    and bomb.png, which claims 60,000 x 60,000 pixels
    golden.safetensors    NAME.rgb [height,width,3], and of all but its outer 2 pixels NAME.bilinear, NAME.bicubic
                          [3,SIZE,SIZE], by the antialiased interpolation behind torchvision's resize
Needs Pillow, torch, safetensors."""
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file

HERE = Path(__file__).parent / "image"
HERE.mkdir(exist_ok=True)
random = np.random.default_rng(6)
y, x = np.mgrid[0:31, 0:43]
picture = np.stack([128 + 100 * np.sin(x / 5), 6 * y + 20, 5 * x + 10 * np.cos(y)], -1) + random.normal(0, 8, (31, 43, 3))
rgb = Image.fromarray(picture.clip(0, 255).astype(np.uint8))
alpha = Image.fromarray((4 * x + 80).clip(0, 255).astype(np.uint8))
rgba = rgb.copy()
rgba.putalpha(alpha)
images = {
    "rgb.png": (rgb, {}, 16), "gray.png": (rgb.convert("L"), {}, 16), "palette.png": (rgb.quantize(32), {}, 7),
    "alpha.png": (rgba, {}, 16), "grayalpha.png": (rgba.convert("LA"), {}, 24), "bits.png": (rgb.convert("1"), {}, 16),
    "full.jpg": (rgb, dict(quality=90, subsampling=0), 16), "half.jpg": (rgb, dict(quality=85, subsampling=2), 48),
    "gray.jpg": (rgb.convert("L"), dict(quality=80), 16), "progressive.jpg": (rgb, dict(quality=75, progressive=True), 60),
}
tensors = {}
for name, (picture, options, size) in images.items():
    picture.save(HERE / name, **options)
    pixels = np.array(Image.open(HERE / name).convert("RGB"))
    tensors[name + ".rgb"] = pixels
    part = torch.from_numpy(pixels[2:-2, 2:-2].copy()).permute(2, 0, 1)[None].float()
    for mode in ("bilinear", "bicubic"):
        resized = torch.nn.functional.interpolate(part, (size, size), mode=mode, antialias=True, align_corners=False)
        tensors[f"{name}.{mode}"] = resized[0].clamp(0, 255).numpy()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


(HERE / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
                                + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
save_file(tensors, HERE / "golden.safetensors")
