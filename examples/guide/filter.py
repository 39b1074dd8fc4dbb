"""filter.py HEADER - a public header for Doxygen: its plain comments become documentation comments, word for word. A paragraph with
indented lines (a formula, a table of arguments or errors) keeps its layout."""
import re
import sys


def escape(text):
    return re.sub(r"[\\@<>&#%$*`~\[\]|]", lambda m: "&#%d;" % ord(m[0]) if m[0] in "*`[]|" else "\\" + m[0], text)


def paragraphs(lines):
    """Text as Doxygen takes it; lines are without the comment's stars."""
    block = []
    for line in lines + [""]:
        if line.strip():
            block.append(line)
        elif block:
            laid_out = any(l.startswith("  ") or "  " in l.strip() for l in block)
            yield from ["\\verbatim", *block, "\\endverbatim"] if laid_out and len(block) > 1 or block[0].startswith("  ") else map(escape, block)
            yield ""
            block = []


def main():
    source = open(sys.argv[1], encoding="utf-8").read()
    first = True

    def block(match):
        nonlocal first
        lines = [re.sub(r"^\s*\* ?", "", line).rstrip() for line in match[1].splitlines()]
        lines[0] = lines[0].strip()
        text = "/**" + (" \\file" if first else "") + "\n" + "".join(line + "\n" for line in paragraphs(lines)) + "*/"
        first = False
        return text

    def behind(match):
        text = " ".join(re.sub(r"^\s*\* ?", "", line).strip() for line in match[2].splitlines())
        return match[1] + "/**< " + escape(text.strip()) + " */"

    # Behind code on its line, first; then those that begin a line.
    source = re.sub(r"^([^\n/]*[;,{}\w)][^\n/]*)/\*((?:[^*]|\*(?!/))*)\*/", behind, source, flags=re.M)
    source = re.sub(r"^[ \t]*/\*(?![*])((?:[^*]|\*(?!/))*)\*/", block, source, flags=re.M)
    sys.stdout.write(source)


main()
