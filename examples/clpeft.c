/* clpeft.c - trained adapters go out into other programs, and adapters of PEFT come in.
 *
 *     export   checkpoint --> PEFT folder, or GGUF adapter for llama.cpp
 *     merge    checkpoint or PEFT folder, and a model --> a model with the adapter in its weights
 *     import   PEFT folder --> checkpoint
 *     info     what is in a file or folder
 *
 * Each command is one function below: its options, then the library's call. */
#include "clpeft.h"

#include "clpeft_info.h"
#include "clpeft_source.h"
#include "trainer/checkpoint.h"
#include "trainer/options.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- options ---- */

static const char usage[] =
    "clpeft - takes adapters to PEFT and llama.cpp and back\n\n"
    "  clpeft export DIR --to peft|gguf --out PATH    the adapter as a PEFT folder, or as a GGUF file for llama.cpp\n"
    "  clpeft merge DIR --out PATH                    a copy of the model with the adapter in its weights\n"
    "  clpeft import DIR --model PATH --out DIR       a PEFT folder as a checkpoint, to train on\n"
    "  clpeft info PATH                               tensors, metadata and config of a file or folder\n\n"
    "DIR is what was trained, --out of a trainer or a file of it; for merge and import a PEFT folder. Defaults are in\n"
    "parentheses.";

static const char *const pools[] = { "mean", "first", NULL };
static const char *const types[] = { "keep", "f32", "f16", "bf16", "q8_0", NULL };
static const clpeft_dtype dtypes[] = { CLPEFT_OTHER, CLPEFT_F32, CLPEFT_F16, CLPEFT_BF16, CLPEFT_Q8_0 };

static struct {
    const char *model, *out, *device, *to, *base, *prefix;
    int type, no_head, pool;
    size_t classes;
    int help, version;
} given;

#define ROW(n, a, h, kind, variable) .name = n, .argument = a, .help = h, .type = kind, .value = &given.variable
static option common[] = {
    { ROW("out", "PATH", "what is written: a folder, or a file that ends in .gguf", OPTION_TEXT, out) },
    { ROW("model", "PATH", "the pretrained model; else that of the training", OPTION_TEXT, model) },
    { ROW("type", "WORD", "of what is written (keep: as it is)", OPTION_CHOICE, type), .choices = types },
    { ROW("device", "WORD", "OpenCL device: its number, or part of its name", OPTION_TEXT, device) },
    { ROW("help", NULL, "print this", OPTION_FLAG, help) },
    { ROW("version", NULL, "print the version", OPTION_FLAG, version) },
    { 0 },
};
static option exporting[] = {
    { ROW("to", "WORD", "peft or gguf", OPTION_TEXT, to) },
    { ROW("base", "NAME", "peft: the model's id, for base_model_name_or_path", OPTION_TEXT, base) },
    { ROW("prefix", "TEXT", "peft: before the names of modules, for another object than is guessed", OPTION_TEXT,
          prefix) },
    { ROW("no-head", NULL, "peft: the adapter alone, for a model without classifier", OPTION_FLAG, no_head) },
    { 0 },
};
static option importing[] = {
    { ROW("classes", "N", "of a new head, where the folder has none", OPTION_SIZE, classes), .low = 2, .high = 1e6 },
    { ROW("pool", "WORD", "what the head sees of the last hidden states", OPTION_CHOICE, pool), .choices = pools },
    { 0 },
};
static const option_group groups[] = { { "All", common }, { "Export", exporting }, { "Import", importing }, { 0 } };

static bool ends_in(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* A path to write: OUT itself where it ends as the file does, else the file in the folder OUT, which is made. */
static void output_path(char path[PATH_SIZE], const char *file)
{
    if (ends_in(given.out, strrchr(file, '.'))) {
        if (snprintf(path, PATH_SIZE, "%s", given.out) >= PATH_SIZE) die("%.100s...: too long a name", given.out);
        return;
    }
    checkpoint_folder(given.out);
    path_join(path, given.out, file);
}

/* ---- export ---- */

static void export_peft(source *s)
{
    const clpeft_peft_options options = { .dtype = given.type ? dtypes[given.type] : CLPEFT_F32,
                                          .base_model = given.base,
                                          .prefix = given.prefix,
                                          .head_scale = given.no_head ? 0 : s->head_scale };

    must(clpeft_peft_export(s->adapter, s->model, given.out, &options, s->queue));
    note("saved in %s", given.out);
    if (options.head_scale != 0)
        note("classifier: its logits are those of the trainer on the same pooled hidden states, not on BERT's pooler");
}

static void export_gguf(source *s)
{
    char path[PATH_SIZE];

    output_path(path, "adapter.gguf");
    must(clpeft_gguf_export(s->adapter, s->model, path, given.type ? dtypes[given.type] : CLPEFT_F32, s->queue));
    note("saved in %s", path);
    if (s->head_scale != 0) note("the classifier is not part of it");
}

static void run_export(const char *folder)
{
    options_require(groups, "to");
    options_require(groups, "out");
    const bool peft = !strcmp(given.to, "peft");
    if (!peft && strcmp(given.to, "gguf") != 0) die("--to %s: not one of peft, gguf", given.to);
    source s = source_open(folder, given.model, given.device);
    if (peft)
        export_peft(&s);
    else
        export_gguf(&s);
    source_close(&s);
}

/* ---- merge ---- */

static void copy_file(const char *from, const char *to)
{
    FILE *file = fopen(from, "rb");
    size_t size = 0, n;
    char *bytes = NULL;

    if (!file) die("%s: cannot be read", from);
    do {
        enum { MORE = 1 << 20 };
        bytes = realloc(bytes, size + MORE);
        if (!bytes) die("no memory for %s", from);
        n = fread(bytes + size, 1, MORE, file);
        size += n;
    } while (n > 0);
    if (ferror(file)) die("%s: cannot be read", from);
    fclose(file);
    must(clpeft_file_replace(to, bytes, size));
    free(bytes);
}

/* Configuration and tokenizer of a model's folder: what makes the new one a model too. */
static void copy_side_files(const char *model)
{
    static const char *const ends[] = { ".json", ".txt", ".model", ".jinja" };
    char from[PATH_SIZE], to[PATH_SIZE];
    struct stat info;
    DIR *folder = opendir(model);

    if (!folder) die("%s: cannot be read", model);
    for (struct dirent *entry; (entry = readdir(folder));) {
        size_t i = 0;
        while (i < sizeof ends / sizeof *ends && !ends_in(entry->d_name, ends[i])) i++;
        path_join(from, model, entry->d_name);
        if (i == sizeof ends / sizeof *ends || ends_in(from, ".index.json") || stat(from, &info) != 0 ||
            !S_ISREG(info.st_mode))
            continue;
        path_join(to, given.out, entry->d_name);
        copy_file(from, to);
    }
    closedir(folder);
}

static bool same_place(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static void run_merge(const char *folder)
{
    char path[PATH_SIZE];
    struct stat info;

    options_require(groups, "out");
    source s = source_open(folder, given.model, given.device);
    const bool is_folder = stat(s.model_path, &info) == 0 && S_ISDIR(info.st_mode);
    output_path(path, is_folder ? "model.safetensors" : "model.gguf");
    if (is_folder && ends_in(given.out, ".safetensors"))
        die("--out %s: the model is a folder, so name a folder", given.out);
    if (same_place(s.model_path, given.out) || same_place(s.model_path, path))
        die("--out %s: that is the model itself", given.out);
    must(clpeft_merge_write(s.adapter, s.model, s.model_path, path, dtypes[given.type], s.queue));
    if (is_folder) copy_side_files(s.model_path);
    note("saved in %s", is_folder ? given.out : path);
    if (s.head_scale != 0) note("the classifier is not part of it");
    source_close(&s);
}

/* ---- import ---- */

/* A classifier, with the folder's head or a new one; of a decoder without one, a language model. */
static clpeft_trainer_options import_options(const clpeft_peft_info *info, const clpeft_model *model,
                                             const char *folder)
{
    clpeft_trainer_options o = clpeft_trainer_defaults(info->adapter.magnitude ? CLPEFT_DORA : CLPEFT_LORA);
    clpeft_model_info kind;

    clpeft_model_get_info(model, &kind);
    o.classes = info->classes > 0 ? info->classes : given.classes;
    if (o.classes == 0 && kind.family == CLPEFT_LLAMA) o.task = CLPEFT_LANGUAGE_MODEL;
    if (o.classes == 0 && o.task == CLPEFT_CLASSIFY)
        die("%s has no classifier: say with --classes how many classes a new one has", folder);
    if (given.classes > 0 && o.classes != given.classes)
        die("--classes %zu: the classifier in %s has %zu", given.classes, folder, info->classes);
    o.adapter = info->adapter;
    o.sites = info->sites;
    o.pool = (clpeft_pool)given.pool;
    o.warmup = 0, o.decay = CLPEFT_DECAY_NONE;
    return o;
}

static void run_import(const char *folder)
{
    char path[PATH_SIZE];
    clpeft_context *ctx;
    clpeft_peft *peft;
    clpeft_peft_info info;
    clpeft_trainer *trainer;

    options_require(groups, "model");
    options_require(groups, "out");
    must(clpeft_context_create(&ctx, &(clpeft_context_options){ .select = given.device }));
    clpeft_model *model = open_model(ctx, given.model);
    must(clpeft_peft_open(&peft, model, folder));
    clpeft_peft_get_info(peft, &info);
    const clpeft_trainer_options options = import_options(&info, model, folder);
    must(clpeft_trainer_create(&trainer, model, &options));
    must(clpeft_peft_load(peft, clpeft_trainer_adapter(trainer), info.classes > 0 ? options.feature_scale : 0,
                          clpeft_trainer_queue(trainer)));
    output_path(path, CHECKPOINT_LAST);
    must(clpeft_trainer_save(trainer, path, NULL, 0));
    note("saved in %s", path);
    clpeft_trainer_destroy(trainer);
    clpeft_peft_close(peft);
    clpeft_model_destroy(model);
    clpeft_context_destroy(ctx);
}

/* ---- all of it ---- */

static const struct {
    const char *name;
    void (*run)(const char *path);
} commands[] = { { "export", run_export }, { "merge", run_merge }, { "import", run_import }, { "info", print_info } };

/* Options that are there for --help and --version alone. */
static void about_done(void)
{
    if (options_given(groups, "version")) {
        printf("%s %s\n", program_name(), clpeft_version());
        exit(EXIT_SUCCESS);
    }
    if (!options_given(groups, "help")) return;
    puts(usage);
    options_help(groups);
    printf("\nExit status: 0 done, %d wrong arguments or files.\n", EXIT_BAD_INPUT);
    exit(EXIT_SUCCESS);
}

int main(int argc, char **argv)
{
    size_t i = 0;

    program_start("clpeft", argv);
    const int rest = options_scan(groups, argc, argv);
    about_done();
    if (rest == argc) die("export, merge, import or info is missing; see --help");
    while (i < sizeof commands / sizeof *commands && strcmp(commands[i].name, argv[rest]) != 0) i++;
    if (i == sizeof commands / sizeof *commands) die("%s: not export, merge, import or info; see --help", argv[rest]);
    if (rest + 2 != argc) die("%s takes one folder or file; see --help", argv[rest]);
    options_apply(groups);
    commands[i].run(argv[rest + 1]);
    if (fflush(stdout) != 0 || ferror(stdout)) die("stdout: cannot be written");
    return EXIT_SUCCESS;
}
