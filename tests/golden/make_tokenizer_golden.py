"""make_tokenizer_golden.py MODEL_DIR GGUF WORDNET_TSV BBC_TSV: makes the files that tests/wordpiece.c and tests/bpe.c read.

    hostile.txt            one text per line: what is rare, strange or malicious in Unicode, no NUL
    hostile_wordpiece.txt  the ids of each, of BertTokenizer with MODEL_DIR/vocab.txt
    hostile_bpe.txt        the ids of each, of SmolLM2's tokenizer made of the tokens and merges in GGUF
    tokenizer.tsv          tokenizer, texts, number of texts and of ids, 64-bit FNV-1a hash of the ids of larger sets:
                           every id as little-endian int32, -1 after each text

make_tokenizer_golden.py --ranges: prints the table `newer` of examples/common/wordpiece.c.

Made with transformers 5.23, tokenizers 0.23.3, gguf 0.19, regex 2026.11.15 (its Unicode 17).
"""
import random
import sys
from pathlib import Path

HERE = Path(__file__).parent
CODE_POINTS = [c for c in [*range(1, 0x40000), *range(0xE0000, 0xE1000), *range(0x10FF00, 0x110000)]
               if not 0xD800 <= c < 0xE000]

FIXED = """
The quick brown fox jumps over the lazy dog.
  leading,  double   and trailing spaces   
don't can't we're I've I'm he'll she'd DON'T 'S 's's '' ' s
x=1;y[2]={3}; 3.14159 1,000,000 1e-10 0xDEADBEEF v1.2.3 50% $9.99
https://example.org/a_b-c?d=e&f=%20#g me@example.org C:\\Users\\x /usr/bin
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa unaffable antidisestablishmentarianism
[CLS] [SEP] [MASK] [PAD] [UNK] [mask] [[MASK]] x[MASK]y[SEP]z [UNK [CLS [[SEP] MASK] [ MASK ]
<|endoftext|> <|im_start|>user
<|im_start|>system<|im_end|><|im_end|> <|im_start |> <|im_start| |im_end|> <<|im_end|>> <repo_name><reponame> <|endoftext
unused [unused0] [unused1] ##ing ## ing #1 ##1
""".strip("\n").split("\n")

ESCAPED = r"""
cafe\u0301 caf\u00e9 CAF\u00c9 na\u00efve \u00c5ngstr\u00f6m \u212b \u212aelvin \u2126 re\u0301sume\u0301
e\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308 q\u0307\u0323 q\u0323\u0307 \u0301 \u0301a a \u0301 \u0344 \u0345\u03b1
Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324 algo\u0489 \u20dd\u20e3
\u0130stanbul \u0131 I\u0307 i\u0307 \u0130\u0131 D\u0130YARBAKIR d\u0131\u015f
stra\u00dfe STRASSE \u1e9e \u0149 \u01f0 \u0390 \ufb01 \ufb03 \ufb05\ufb06 \u01c4 \u01c5 \u01c6 \u2460 \u24b6 \u00bd \u2155
\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2 \u039f\u0394\u039f\u03a3 \u1f80\u1f88\u1fb3\u1fbc\u1fd3 \u03d4\u03d3 \u037e\u0387\u1fef
\u4e2d\u6587\u5206\u8bcd \u65e5\u672c\u8a9e\u306e\u30c6\u30b9\u30c8 \u30ac\u30d1 \u304c\u3071 \uff76\uff9e a\u4e2db \u3007\u3006\u3005\u3001\u3002\u300c\u300d
\uf900\uf906\ufa0e\ufa1f \U0002f800 \U00020000\U0002a6df \U0002a700 \U0002b81f\U0002b820\U0002b91f\U0002b920 \U0002ceb0 \U00030000
\ud55c\uad6d\uc5b4 \uac00\uac01\ud7a3 \u1112\u1161\u11ab \u3131\u314f \ud55c\u0301 \u302e\u302f \ua960\ud7b0
\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f \u0671\u0640\u0640 \u061f\u060c\u061b \u0661\u0662\u0663 \ufefb\ufdfa\ufdfd
\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd \u05be\u05f3\u05f4 \ufb2a\ufb4a \u200e\u200f\u202a\u202b\u202c\u202d\u202eabc\u202c \u2066x\u2069
\u0939\u093f\u0928\u094d\u0926\u0940 \u0958\u0915\u093c \u0ba4\u0bae\u0bbf\u0bb4\u0bcd \u0e44\u0e17\u0e22\u0e33 \u0f42\u0fb7\u0f43\u0f73 \u1000\u103b\u1031 \u1780\u17d2\u1781
\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f3\ufe0f\u200d\U0001f308 \U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd 1\ufe0f\u20e3 \u2764\ufe0f \U0001f3f4\U000e0067\U000e0062\U000e007f
a\u200bb a\u200cb a\u200db a\u2060b \ufeffa a\ufeffb a\u00adb a\u180eb a\u034fb \u061c \u2061\u2062\u2063\u2064 \U0001d173
a\u0001b a\u0002\u0003\u0004\u0005\u0006\u0007\u0008b a\u000bb a\u000cb a\u000eb\u000f\u0010\u0011\u0012\u0013\u0014\u0015 \u0016\u0017\u0018\u0019\u001a\u001b[31m \u001c\u001d\u001e\u001f \u007f
\u0080\u0081\u0085\u0084 a\u0085b a\u009fb \u00a0a\u00a0\u00a0b\u00a0 \u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200aa \u2028b\u2029c \u202fd\u205fe\u3000f \u1680g
tab\tseparated\t\ttext\r carriage\rreturn\r\r end\r
\t \t  x \r\t y\u3000 z  1   2 \t3\u00a0\u00a04  
\ufffd a\ufffdb \ufffc \ufffe\uffff \ufdd0\ufdef \U0001ffff \U0010ffff
\ue000\uf8ff \U000f0000\U000ffffd \U00100000\U0010fffd a\ue000b
\u0378\u0379 \u0380 \u05c8 \u0870\u08ff \u2fe0 \u9ffd\u9fff \u1c8a \ua7cb\ua7dc \U0001e900\U0001e922 \U00010d50 \U000e0080 \U00040000 \U00050123b
!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ a!b\"c#d$e%f&g'h(i)j*k+l,m-n.o/p:q;r<s=t>u?v@w[x\\y]z^_`{|}~
\u00a1\u00a7\u00ab\u00b6\u00b7\u00bb\u00bf \u00a2\u00a3\u00a4\u00a5\u00a6\u00a8\u00a9\u00ac\u00ae\u00af\u00b0\u00b1\u00b4\u00b8\u00d7\u00f7 \u2010\u2011\u2012\u2013\u2014\u2015 \u2018\u2019\u201a\u201c\u201d\u201e \u2020\u2022\u2026\u2030\u2032 \u2039\u203a\u203f\u2040
don\u2019t \u2019s it\u02bcs \uff07s \uff3b\uff2d\uff21\uff33\uff2b\uff3d \u3008\u3009\u300a\ufe41\ufe59\uff5f\uff61 \u2e3a\u2e43\u2e52\u2e5b \u2308\u2329\u27e6\u2983
\u061d\u09fd\u0a76\u0c77\u0c84\u1b7d \u166d\U000111c9\u1734 \U00011a3f\U0001e95e \u07fd\u0898\u08d4 \U00011938\U00011935\U00011930 a\u1abfb \u1df6
\U0001d165\U0001d16d\U0001d15e \U0001d400\U0001d7ce \U0001d6c1 \u00b2\u00b3\u00b9 \u2070\u2160\u2180\u3007\u4e00 \u0be7\u0c66\u0e50\uff11 \U0001f100 \U00010107 \U000104a0\U00016af4\U0001e950
1\u0660\u0967\u00bd2 a1b2c3 1a2b3c  12  34 5.6 7\u20ac \u21168 x\u00b2 H\u2082O \u2167 \u3220
\u1e69 \u1e9b\u0323 \u0307\u0323 d\u0323\u0307 \u1e0b\u0323 \u0958 \u2adc \ufb1d \U0001d15f \u0b94 \u1026 \u1b06 \U0001109a
"""


def hostile():
    lines = FIXED + [text.encode("ascii").decode("unicode_escape") for text in ESCAPED.strip("\n").split("\n")]
    for n in (99, 100, 101, 200):  # characters of one word
        lines += ["a" * n, "é" * n, "e\u0301" * n, "\U0001f600" * n, "x" + "\u200b" * n + "y", "-" * n, "中" * n]
    lines += ["한" * n for n in (33, 34, 50)]
    lines += ["a" + "\u0301" * 3000, " " * 300, "ab" * 500, "1" * 200, "'" * 101, "a " * 300]
    pick = random.Random(1).choice
    ascii_and_more = [range(32, 127), range(1, 0x250), "'strevmld 1\t\r"]
    pools = [ascii_and_more, [range(0x300, 0x370), "aeiou"], [range(1, 0x3000)], [range(1, 0xD800)],
             [range(0x10000, 0x20000)], [range(0xE000, 0x110000)], [range(0x1E00, 0x2070), range(0x370, 0x600)],
             ["[]MASKCLSEPUNKD<|im_start>"], [range(0x900, 0x1200)], [range(0xAC00, 0xD7A4), range(0x1100, 0x1200)]]
    for k in range(200):
        text = ""
        for _ in range(k % 40 + 1):
            c = pick(pick(pools[k % len(pools)] if k % 3 else pick(pools)))
            text += c if isinstance(c, str) else chr(c)
        lines.append(text)
    assert not any("\n" in line or "\0" in line for line in lines)
    return [line for line in lines if line]


def sweep(c):
    """What surrounds each code point, to tell every kind of character from the others; tests/tokens.h has the same."""
    return f"a {chr(c)}b!{chr(c)} n{chr(c)}1 {chr(c)}{chr(c)}"


def digest(sets):
    value, n = 0xCBF29CE484222325, 0
    for ids in sets:
        n += len(ids)
        for byte in b"".join(i.to_bytes(4, "little", signed=True) for i in [*ids, -1]):
            value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{len(sets)}\t{n}\t{value:016x}"


def smollm2(gguf_path):
    from gguf import GGUFReader
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    read = lambda key: GGUFReader(gguf_path).fields["tokenizer.ggml." + key].contents()
    tokens, merges, types = read("tokens"), read("merges"), read("token_type")
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, k in zip(tokens, types) if k == 3])
    return tokenizer


def make(model_dir, gguf_path, wordnet, bbc):
    from transformers import BertTokenizer
    vocab = str(Path(model_dir) / "vocab.txt")
    bert = {"wordpiece": BertTokenizer(vocab), "wordpiece cased": BertTokenizer(vocab, do_lower_case=False)}
    bpe = smollm2(gguf_path)

    def encode(tokenizer, texts):
        if tokenizer in bert:
            return bert[tokenizer](texts)["input_ids"]
        bpe.encode_special_tokens = tokenizer == "bpe plain"
        return [e.ids for e in bpe.encode_batch(texts)]

    lines = hostile()
    (HERE / "hostile.txt").write_bytes("".join(line + "\n" for line in lines).encode())
    for name, tokenizer in (("wordpiece", "wordpiece"), ("bpe", "bpe")):
        rows = [" ".join(map(str, ids)) + "\n" for ids in encode(tokenizer, lines)]
        (HERE / f"hostile_{name}.txt").write_text("".join(rows))

    texts = {"hostile": lines, "whole": ["".join(line + "\n" for line in lines)], "sweep": [sweep(c) for c in CODE_POINTS]}
    for name, path in (("wordnet", wordnet), ("bbc", bbc)):
        rows = Path(path).read_bytes().decode().split("\n")[:-1]
        texts[name] = [row.split("\t", 1)[1] for row in rows]
    with open(HERE / "tokenizer.tsv", "w") as out:
        for tokenizer in ("wordpiece", "wordpiece cased", "bpe", "bpe plain"):
            for name, rows in texts.items():
                print(tokenizer, name, digest(encode(tokenizer, rows)), sep="\t", file=out)


def ranges():
    import regex
    import unicodedata
    from tokenizers import normalizers, pre_tokenizers
    step = lambda **chosen: normalizers.BertNormalizer(**{
        "clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False, **chosen})
    clean, strip, split = step(clean_text=True), step(strip_accents=True), pre_tokenizers.BertPreTokenizer()
    candidate = regex.compile(r"[\p{Mn}\p{P}\p{Cf}]")
    runs, open_run = [], False
    for c in range(0x80, 0x110000):
        if 0xD800 <= c < 0xE000:
            continue
        char = chr(c)
        known = clean.normalize_str(char) == "" or strip.normalize_str(char) != char
        known = known or len(split.pre_tokenize_str(f"a{char}a")) == 3
        if known:
            open_run = False
        elif candidate.match(char) or unicodedata.normalize("NFD", char) != char:
            runs = runs + [[c, c]] if not open_run else runs[:-1] + [[runs[-1][0], c]]
            open_run = True
    print(",\n".join(f"{{ 0x{first:04X}, 0x{last:04X} }}" for first, last in runs))


if __name__ == "__main__":
    ranges() if sys.argv[1:] == ["--ranges"] else make(*sys.argv[1:])
