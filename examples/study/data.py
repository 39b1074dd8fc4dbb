"""data.py - training and evaluation files of one run.

Test and validation rows of a task are the same in every run. The training rows of a seed are an order of all the others, one of every
class first; a size takes that many from the front, so that a smaller set is part of a larger one, and all methods see the same rows.

Images follow VTAB-1K: the first 1,000 of the training file; 800 train and 200 validate a learning rate, then all 1,000 train."""
import gzip
import random
import struct

IMAGES = 1000  # of VTAB-1K


def shuffled(rows, seed):
    draw = random.Random(seed)  # random() gives the same numbers in every Python
    return [row for _, row in sorted((draw.random(), row) for row in rows)]


def firsts_first(rows):
    """Rows "label<TAB>text", the first of every label in front."""
    seen, firsts, others = set(), [], []
    for row in rows:
        label = row.split("\t", 1)[0]
        (others if label in seen else firsts).append(row)
        seen.add(label)
    return firsts + others


def text_of(row, form):
    return row.split("\t", 1)[1] if form == "classes" else row


def split_rows(rows, task, seed):
    """Test, validation and, in their order, training rows."""
    order = shuffled(rows, 0)
    test, validation = task["test"], task["validation"]
    held = order[:test], order[test : test + validation]
    texts = {text_of(row, task["form"]) for part in held for row in part}
    pool = [row for row in order[test + validation :] if text_of(row, task["form"]) not in texts]
    train = shuffled(pool, seed)
    return *held, firsts_first(train) if task["form"] == "classes" else train


def write_rows(path, rows):
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def write_text(folder, source, task, size, seed, split):
    test, validation, train = split_rows(source.read_text(encoding="utf-8").rstrip("\n").split("\n"), task, seed)
    if len(train) < size or not test or not validation:
        raise ValueError(f"{source}: too few rows for {size} to train, {task['test']} to test and {task['validation']} to validate")
    held = {"test": test, "validation": validation, "probe": validation[:200]}[split]
    return write_rows(folder / f"train{source.suffix}", train[:size]), write_rows(folder / f"eval{source.suffix}", held)


def slice_idx(source, target, first, count):
    """Items first ... first + count - 1 of a gzipped IDX file, as one of its own."""
    data = gzip.decompress(source.read_bytes())
    dimensions = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    item = 1
    for extent in dimensions[1:]:
        item *= extent
    start = 4 + 4 * data[3] + first * item
    target.write_bytes(data[:4] + struct.pack(f">{data[3]}I", count, *dimensions[1:]) + data[start : start + count * item])


def write_images(folder, source, size, split):
    if size != IMAGES:
        raise ValueError(f"images: VTAB-1K has {IMAGES} of them, not {size}")
    labels = source.with_name(source.name.replace("images-idx3", "labels-idx1"))
    train = size if split == "test" else size * 4 // 5

    def part(name, first, count):
        slice_idx(source, folder / f"{name}-images-idx3-ubyte", first, count)
        slice_idx(labels, folder / f"{name}-labels-idx1-ubyte", first, count)
        return folder / f"{name}-images-idx3-ubyte"

    test = source.with_name(source.name.replace("train", "t10k"))
    return part("train", 0, train), test if split == "test" else part("eval", train, size - train)


def write(folder, source, task, size, seed, split):
    """Paths of the training and the evaluation file."""
    if task["form"] == "images":
        return write_images(folder, source, size, split)
    return write_text(folder, source, task, size, seed, split)
