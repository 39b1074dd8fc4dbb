"""random_bert.py DIR WIDTH - a model of MiniLM-L6's shape but of another width, with random weights and a small vocabulary:
config.json and model.safetensors. For times, not for results. Python's standard library only."""
import array
import json
import pathlib
import random
import struct
import sys

folder, width = pathlib.Path(sys.argv[1]), int(sys.argv[2])
LAYERS, VOCAB, POSITIONS = 6, 2000, 512
shapes = {"embeddings.word_embeddings.weight": (VOCAB, width), "embeddings.position_embeddings.weight": (POSITIONS, width),
          "embeddings.token_type_embeddings.weight": (2, width), "embeddings.LayerNorm.weight": (width,),
          "embeddings.LayerNorm.bias": (width,)}
for i in range(LAYERS):
    for name, rows, columns in (("attention.self.query", width, width), ("attention.self.key", width, width),
                                ("attention.self.value", width, width), ("attention.output.dense", width, width),
                                ("intermediate.dense", 4 * width, width), ("output.dense", width, 4 * width)):
        shapes[f"encoder.layer.{i}.{name}.weight"] = (rows, columns)
        shapes[f"encoder.layer.{i}.{name}.bias"] = (rows,)
    for name in "attention.output", "output":
        shapes[f"encoder.layer.{i}.{name}.LayerNorm.weight"] = (width,)
        shapes[f"encoder.layer.{i}.{name}.LayerNorm.bias"] = (width,)

random.seed(1)
noise = array.array("f", (random.gauss(0, 0.03) for _ in range(1 << 16)))
header, end = {}, 0
for name, shape in shapes.items():
    size = 4 * shape[0] * (shape[1] if len(shape) > 1 else 1)
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
    end += size
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
folder.mkdir(parents=True, exist_ok=True)
with open(folder / "model.safetensors", "wb") as out:
    out.write(struct.pack("<Q", len(text)) + text)
    for name, entry in header.items():
        left = entry["data_offsets"][1] - entry["data_offsets"][0]
        values = array.array("f", [1.0]) * (left // 4) if name.endswith("LayerNorm.weight") else noise
        while left > 0:
            left -= out.write(memoryview(values).cast("B")[:left])
(folder / "config.json").write_text(json.dumps({
    "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu", "hidden_size": width, "intermediate_size": 4 * width,
    "layer_norm_eps": 1e-12, "max_position_embeddings": POSITIONS, "num_attention_heads": width // 32, "num_hidden_layers": LAYERS,
    "position_embedding_type": "absolute", "type_vocab_size": 2, "vocab_size": VOCAB}))
