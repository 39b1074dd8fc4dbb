#!/usr/bin/env python3
"""make_file_golden.py [GGUF] - what the reference packages make of the inputs of tests/dtype.c, file.c and file-write.c.

Writes beside itself
  written.safetensors  the tensors of file-write.c, saved by the safetensors package
  written.gguf         the same for the gguf package
  file_hashes.tsv      name, hash: element types widened and narrowed by the gguf package; with GGUF, the file
                       SmolLM2-135M-Instruct.Q4_1.gguf, also its tensors, all of a type in file order
A hash is  h = h * 0x100000001b3 + byte  modulo 2^64 over the little-endian bytes of the result, from h = 0.

Needs safetensors 0.8, gguf 0.19, numpy and torch."""
import os
import sys

import gguf
import numpy as np
import torch
from safetensors.torch import save

HERE = os.path.dirname(os.path.abspath(__file__))
FACTOR = 0x100000001B3
CHUNK = 1 << 20
POWERS = np.empty(CHUNK, np.uint64)
POWERS[0] = 1
for _i in range(1, CHUNK):
    POWERS[_i] = int(POWERS[_i - 1]) * FACTOR % 2**64


def hash_bytes(array, h=0):
    data = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
    for at in range(0, data.size, CHUNK):
        part = data[at : at + CHUNK].astype(np.uint64)
        total = int((part * POWERS[: part.size][::-1]).sum(dtype=np.uint64))
        h = (h * int(POWERS[part.size - 1]) * FACTOR + total) % 2**64
    return h


def random_words(n):
    """The upper halves of a linear congruential generator's 64-bit states, from state 1."""
    state, out = 1, np.empty(n, np.uint32)
    for i in range(n):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        out[i] = state >> 32
    return out


def pattern(n, seed):
    return bytes((i * 7 + seed * 13) & 127 for i in range(n))


def write_safetensors(path):
    tensors = {}
    for seed, (name, dtype, shape) in enumerate([
        ("b.f32", torch.float32, [2, 3]), ("a.f16", torch.float16, [5]), ("c.bf16", torch.bfloat16, [3]),
        ("d.f64", torch.float64, [1]), ("e.i64", torch.int64, [2]), ("f.i32", torch.int32, [3]),
        ("scalar", torch.float32, []), ("empty", torch.float32, [0, 4]), ("\u00e9 \"q\" \\ / \n", torch.float32, [1]),
        ("a.f32", torch.float32, [1, 1, 1, 2])]):
        size = torch.tensor([], dtype=dtype).element_size() * int(np.prod(shape))
        raw = bytearray(pattern(size, seed))
        tensors[name] = (torch.frombuffer(raw, dtype=dtype) if size else torch.empty(0, dtype=dtype)).reshape(shape)
    with open(path, "wb") as f:
        f.write(save(tensors, metadata={"format": "pt"}))


def write_gguf(path):
    types = gguf.GGMLQuantizationType
    w = gguf.GGUFWriter(path, "llama")
    w.add_string("general.type", "adapter")
    w.add_float32("adapter.lora.alpha", 16.5)
    w.add_uint32("general.file_type", 3)
    w.add_bool("tokenizer.ggml.add_bos_token", True)
    for seed, (name, shape, kind) in enumerate([
        ("blk.0.attn_q.weight", [3, 64], types.Q8_0), ("blk.0.norm", [5], types.F32), ("blk.1.half", [2, 3], types.F16),
        ("blk.2.q6", [1, 256], types.Q6_K), ("blk.3.bf16", [7], types.BF16)]):
        block, size = gguf.GGML_QUANT_SIZES[kind]
        shape = shape[:-1] + [shape[-1] // block * size]
        raw = np.frombuffer(pattern(int(np.prod(shape)), seed), np.uint8).reshape(shape)
        w.add_tensor(name, raw, raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def widened(rows):
    types = gguf.GGMLQuantizationType
    every = np.arange(65536, dtype=np.uint16)
    rows["widen F16"] = hash_bytes(gguf.dequantize(every.view(np.uint8).reshape(1, -1), types.F16))
    rows["widen BF16"] = hash_bytes(gguf.dequantize(every.view(np.uint8).reshape(1, -1), types.BF16))
    doubles = random_words(8192).view(np.float64)
    with np.errstate(all="ignore"):
        rows["widen F64"] = hash_bytes(doubles[np.isfinite(doubles)].astype(np.float32))
    scales = {"Q4_0": [0], "Q4_1": [0, 2], "Q8_0": [0], "Q6_K": [208]}  # where a block holds an F16, made finite
    for name, places in scales.items():
        size = gguf.GGML_QUANT_SIZES[types[name]][1]
        blocks = random_words(100 * size // 2).view(np.uint8)[: 100 * size].reshape(100, size).copy()
        for place in places:
            blocks[:, place + 1] &= 0xBF
        rows["widen " + name] = hash_bytes(gguf.dequantize(blocks, types[name]))


def narrowed(rows):
    types = gguf.GGMLQuantizationType
    every = np.arange(65536, dtype=np.uint16)
    exact = every.view(np.float16).astype(np.float32).view(np.uint32)
    near = (exact[:, None] + np.array([-1, 0, 1, 0xFFF, 0x1000, 0x1001], np.int64)).astype(np.uint32).reshape(-1)
    with np.errstate(all="ignore"):
        rows["narrow F16"] = hash_bytes(gguf.quantize(near.view(np.float32), types.F16))
    exact = every.astype(np.uint32) << 16
    near = (exact[:, None] + np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)).reshape(1, -1)
    rows["narrow BF16"] = hash_bytes(gguf.quantize(near.view(np.float32), types.BF16))
    # 512 blocks of magnitudes 2^-7 .. 2^8, and one of zeros
    words = random_words(512 * 32)
    words = (words & 0x807FFFFF) | (120 + (words >> 23) % 16 << 23)
    values = np.concatenate([words.view(np.float32), np.zeros(32, np.float32)])
    rows["narrow Q8_0"] = hash_bytes(gguf.quantize(values.reshape(-1, 32), types.Q8_0))


def read(rows, prefix, path, by_type):
    for t in gguf.GGUFReader(path).tensors:
        key = prefix + (t.tensor_type.name if by_type else t.name)
        rows[key] = hash_bytes(gguf.dequantize(t.data, t.tensor_type), rows.get(key, 0))


def main():
    rows = {}
    write_safetensors(os.path.join(HERE, "written.safetensors"))
    write_gguf(os.path.join(HERE, "written.gguf"))
    widened(rows)
    narrowed(rows)
    read(rows, "ok_quant ", os.path.join(HERE, "..", "fixtures", "bad_gguf", "ok_quant.gguf"), False)
    if len(sys.argv) > 1:
        read(rows, "SmolLM2 ", sys.argv[1], True)
    with open(os.path.join(HERE, "file_hashes.tsv"), "w") as f:
        for name, value in rows.items():
            f.write("%s\t%016x\n" % (name, value))


if __name__ == "__main__":
    main()
