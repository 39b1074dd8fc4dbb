"""make_tiny_bert.py DIR - a BERT model that is small enough for a test of seconds, with random weights: config.json,
vocab.txt and model.safetensors, always the same bytes. Python's standard library only."""
import json
import pathlib
import random
import struct
import sys

WIDTH, LAYERS, HEADS, FFN, POSITIONS = 32, 2, 4, 64, 64
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = "red green blue black white apple pear plum melon cherry cat dog horse mouse bird the a is was and ##s".split()


def shapes():
    """Name -> shape of every tensor of a BertModel without pooler."""
    yield "embeddings.word_embeddings.weight", (len(SPECIAL) + len(WORDS), WIDTH)
    yield "embeddings.position_embeddings.weight", (POSITIONS, WIDTH)
    yield "embeddings.token_type_embeddings.weight", (2, WIDTH)
    yield "embeddings.LayerNorm.weight", (WIDTH,)
    yield "embeddings.LayerNorm.bias", (WIDTH,)
    for i in range(LAYERS):
        linears = [(f"attention.self.{name}", WIDTH, WIDTH) for name in ("query", "key", "value")]
        linears += [("attention.output.dense", WIDTH, WIDTH), ("intermediate.dense", FFN, WIDTH), ("output.dense", WIDTH, FFN)]
        for name, rows, columns in linears:
            yield f"encoder.layer.{i}.{name}.weight", (rows, columns)
            yield f"encoder.layer.{i}.{name}.bias", (rows,)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            yield f"encoder.layer.{i}.{name}.weight", (WIDTH,)
            yield f"encoder.layer.{i}.{name}.bias", (WIDTH,)


def values(name, count):
    if "LayerNorm.weight" in name:
        return [1.0] * count
    deviation = 0.5 if "word" in name else 0.1
    return [random.gauss(0, deviation) for _ in range(count)]


def safetensors():
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, shape in shapes():
        count = shape[0] * (shape[1] if len(shape) == 2 else 1)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + 4 * count]}
        data += struct.pack(f"<{count}f", *values(name, count))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def main():
    random.seed(1)
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": FFN,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
        "vocab_size": len(SPECIAL) + len(WORDS),
        "layer_norm_eps": 1e-12,
        "position_embedding_type": "absolute",
        "pad_token_id": 0,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "vocab.txt").write_text("\n".join(SPECIAL + WORDS) + "\n")
    (folder / "model.safetensors").write_bytes(safetensors())


main()
