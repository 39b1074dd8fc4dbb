/* rows.c - libFuzzer: any bytes as rows of data: TSV with labels, texts without, JSONL of prompts, plain documents. The readers end
 * the program where a row is wrong; here they come back, and what they hold then is lost: leaks are not looked for. */
#include "scratch.h"

#include <setjmp.h>

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

static jmp_buf wrong;

static _Noreturn void leave(int status)
{
    longjmp(wrong, status + 1);
}
#define exit leave
#include "trainer/program.c"
#undef exit

#include "trainer/dataset.h"
#include "trainer/documents.h"

static wordpiece *pieces;
static lm_tokenizer tokenizer;

/* Every byte is a token, written as one visible character (bpe.h). */
static void make_tokenizers(void)
{
    static const char vocabulary[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\n##a\n##b\n";
    static char text[256][4];
    bpe_string token[256];
    char error[256];

    for (unsigned byte = 0, other = 0; byte < 256; byte++) {
        const int visible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
        const unsigned c = visible ? byte : 256 + other++;
        if (c < 128)
            text[byte][0] = (char)c;
        else
            text[byte][0] = (char)(0xc0 | c >> 6), text[byte][1] = (char)(0x80 | (c & 63));
        token[byte] = (bpe_string){ text[byte], strlen(text[byte]) };
    }
    scratch_write("vocab.txt", vocabulary, sizeof vocabulary - 1);
    if (!wordpiece_create(&pieces, scratch_path("vocab.txt"), 1, error, sizeof error) ||
        !bpe_create(&tokenizer.bpe, &(bpe_source){ .pre = "smollm", .tokens = token, .n_tokens = 256 }, error,
                    sizeof error))
        abort();
    tokenizer.begin = 1, tokenizer.end = 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const name[] = { "rows.tsv", "texts.tsv", "rows.jsonl", "text.txt" };
    const char *file = name[size ? bytes[0] & 3 : 0];
    label_list labels = { 0 };
    documents d = { 0 };
    dataset rows = { 0 };

    static int first_file;

    if (!pieces) make_tokenizers(), first_file = dup(0);
    for (int file = first_file; file < first_file + 4; file++)
        close(file); /* what a reader that did not end left open */
    if (size)
        scratch_write(file, bytes + 1, size - 1);
    else
        scratch_write(file, "", 0);
    if (setjmp(wrong)) return 0;
    if (file == name[0]) {
        dataset_read(&rows, scratch_path(file), pieces, 16, &labels);
        dataset_hash(&rows);
        labels_free(&labels);
        dataset_free(&rows);
    } else if (file == name[1]) {
        dataset_read(&rows, scratch_path(file), pieces, 16, NULL);
        dataset_free(&rows);
    } else {
        documents_read(&d, scratch_path(file), &tokenizer, 16);
        for (size_t row = 0; row < d.n; row++) documents_prompt(&d, row);
        documents_hash(&d);
        documents_free(&d);
    }
    return 0;
}
