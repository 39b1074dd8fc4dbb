"""make_tiny_llama.py FILE - a LLaMA that is small enough for a test of seconds, as a GGUF file with a byte-level tokenizer: random
weights, always the same bytes. Python's standard library only."""
import random
import struct
import sys

WIDTH, LAYERS, HEADS, KEY_HEADS, FFN, POSITIONS = 32, 2, 4, 2, 64, 96
U32, F32, BOOL, STRING, ARRAY, I32 = 4, 6, 7, 8, 9, 5


def alphabet():
    """The characters that stand for the bytes 0 to 255, as GPT-2 has them."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(b) if b in printable else chr(next(others)) for b in range(256)]


TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *alphabet(), "th", "the", "\u0120a"]
MERGES = ["t h", "th e", "\u0120 a"]


def shapes():
    yield "token_embd.weight", (len(TOKENS), WIDTH)
    for i in range(LAYERS):
        for name, rows, columns in (("attn_q", WIDTH, WIDTH), ("attn_k", WIDTH // 2, WIDTH), ("attn_v", WIDTH // 2, WIDTH),
                                    ("attn_output", WIDTH, WIDTH), ("ffn_gate", FFN, WIDTH), ("ffn_up", FFN, WIDTH),
                                    ("ffn_down", WIDTH, FFN)):
            yield f"blk.{i}.{name}.weight", (rows, columns)
        yield f"blk.{i}.attn_norm.weight", (WIDTH,)
        yield f"blk.{i}.ffn_norm.weight", (WIDTH,)
    yield "output_norm.weight", (WIDTH,)


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def value(kind, what):
    if kind == STRING:
        return string(what)
    return struct.pack({U32: "<I", F32: "<f", BOOL: "<?"}[kind], what)


def pair(key, kind, what):
    return string(key) + struct.pack("<I", kind) + value(kind, what)


def array(key, kind, items):
    data = b"".join(string(i) if kind == STRING else struct.pack("<i", i) for i in items)
    return string(key) + struct.pack("<IIQ", ARRAY, kind, len(items)) + data


def main():
    random.seed(1)
    pairs = [pair("general.architecture", STRING, "llama"), pair("llama.embedding_length", U32, WIDTH),
             pair("llama.block_count", U32, LAYERS), pair("llama.attention.head_count", U32, HEADS),
             pair("llama.attention.head_count_kv", U32, KEY_HEADS), pair("llama.feed_forward_length", U32, FFN),
             pair("llama.context_length", U32, POSITIONS), pair("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
             pair("tokenizer.ggml.model", STRING, "gpt2"), pair("tokenizer.ggml.pre", STRING, "smollm"),
             array("tokenizer.ggml.tokens", STRING, TOKENS), array("tokenizer.ggml.merges", STRING, MERGES),
             array("tokenizer.ggml.token_type", I32, [3] * 3 + [1] * (len(TOKENS) - 3)),
             pair("tokenizer.ggml.bos_token_id", U32, 1), pair("tokenizer.ggml.eos_token_id", U32, 2),
             pair("tokenizer.ggml.add_bos_token", BOOL, False)]
    infos, data = b"", b""
    for name, shape in shapes():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        infos += string(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", n) for n in reversed(shape))
        infos += struct.pack("<IQ", 0, len(data))
        weights = [1.0] * count if "norm" in name else [random.gauss(0, 0.5 if "embd" in name else 0.15) for _ in range(count)]
        data += struct.pack(f"<{count}f", *weights)
        data += bytes(-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(list(shapes())), len(pairs)) + b"".join(pairs) + infos
    with open(sys.argv[1], "wb") as file:
        file.write(head + bytes(-len(head) % 32) + data)


main()
