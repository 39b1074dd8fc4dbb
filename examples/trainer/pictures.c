#include "pictures.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "common/fail.h"
#include "program.h"

/* What is read so far; labels as text, with IDX their numbers. */
typedef struct {
    pictures *d;
    char **label;
    size_t most, files_room, labels_room;
} reader;

static char *copy(const char *text)
{
    char *same = strdup(text);
    if (!same) die("no memory for names");
    return same;
}

static void add(reader *r, const char *label, const char *file)
{
    pictures *d = r->d;

    if (r->most > 0 && d->n == r->most) return;
    d->file = grow(d->file, &r->files_room, d->n + 1, sizeof *d->file);
    r->label = grow(r->label, &r->labels_room, d->n + 1, sizeof *r->label);
    d->file[d->n] = copy(file);
    r->label[d->n++] = copy(label);
}

/* ---- where the images are ---- */

static int is_picture(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot && (!strcasecmp(dot, ".png") || !strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg"));
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void read_folder(reader *r, const char *path)
{
    struct dirent **classes, **files;
    char folder[PATH_SIZE], file[PATH_SIZE];
    struct stat status;

    const int n = scandir(path, &classes, is_visible, alphasort);
    if (n < 0) die("%s: %s", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        path_join(folder, path, classes[i]->d_name);
        if (stat(folder, &status) == 0 && S_ISDIR(status.st_mode)) {
            const int m = scandir(folder, &files, is_picture, alphasort);
            if (m < 0) die("%s: %s", folder, strerror(errno));
            for (int k = 0; k < m; k++) {
                path_join(file, folder, files[k]->d_name);
                add(r, classes[i]->d_name, file);
                free(files[k]);
            }
            free(files);
        }
        free(classes[i]);
    }
    free(classes);
}

static void read_list(reader *r, const char *path)
{
    FILE *list = fopen(path, "r");
    const char *slash = strrchr(path, '/');
    char folder[PATH_SIZE], file[PATH_SIZE], *line = NULL;
    size_t room = 0, number = 0;
    ssize_t got;

    if (!list) die("%s: %s", path, strerror(errno));
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    while ((got = getline(&line, &room, list)) >= 0) {
        number++;
        line[strcspn(line, "\r\n")] = 0;
        if (!*line) continue;
        char *tab = strchr(line, '\t');
        if (strlen(line) + 2 < (size_t)got) die("%s line %zu: a NUL byte: this is not a list", path, number);
        if (!tab || tab == line || !tab[1]) die("%s line %zu: not class<TAB>file", path, number);
        *tab = 0;
        if (tab[1] != '/') path_join(file, folder, tab + 1);
        add(r, line, tab[1] == '/' ? tab + 1 : file);
    }
    if (ferror(list)) die("%s: %s", path, strerror(errno));
    fclose(list);
    free(line);
}

static void read_idx(reader *r, const char *path, bool labelled)
{
    pictures *d = r->d;
    char error[500], name[PATH_SIZE];
    idx numbers;

    if (!idx_read(&d->images, path, 3, r->most, error, sizeof error)) die("%s", error);
    d->n = d->images.n;
    if (!labelled) return;
    const char *part = strstr(path, "images-idx3");
    if (!part) die("%s: where its labels are is not known: its name has no images-idx3", path);
    snprintf(name, sizeof name, "%.*slabels-idx1%s", (int)(part - path), path, part + strlen("images-idx3"));
    if (!idx_read(&numbers, name, 1, r->most, error, sizeof error)) die("%s", error);
    if (numbers.n != d->n) die("%s: %zu labels of %zu images", name, numbers.n, d->n);
    r->label = allocate(d->n, sizeof *r->label);
    for (size_t i = 0; i < d->n; i++) {
        char number[8];
        snprintf(number, sizeof number, "%d", numbers.bytes[i]);
        r->label[i] = copy(number);
    }
    idx_free(&numbers);
}

/* ---- all of it ---- */

static void drop_bad(reader *r)
{
    pictures *d = r->d;
    size_t kept = 0;

    for (size_t i = 0; i < d->n; i++) {
        char error[500];
        image im;
        if (!pictures_decode(d, i, &im, error, sizeof error)) {
            note("skipped: %s", error);
            free(d->file[i]);
            if (r->label) free(r->label[i]);
            continue;
        }
        image_free(&im);
        d->file[kept] = d->file[i];
        if (r->label) r->label[kept] = r->label[i];
        kept++;
    }
    d->n = kept;
}

void pictures_read(pictures *d, const char *path, size_t most, label_list *labels, bool skip_bad)
{
    reader r = { .d = d, .most = most };
    struct stat status;

    *d = (pictures){ .path = path };
    if (stat(path, &status) != 0) die("%s: %s", path, strerror(errno));
    if (S_ISDIR(status.st_mode))
        read_folder(&r, path);
    else if (idx_is(path))
        read_idx(&r, path, labels != NULL);
    else
        read_list(&r, path);
    if (skip_bad && d->file) drop_bad(&r);
    if (d->n == 0) die("%s: no images", path);
    if (labels) d->label = labels_assign(labels, r.label, d->n, path, NULL);
    for (size_t i = 0; r.label && i < d->n; i++) free(r.label[i]);
    free(r.label);
}

void pictures_name(pictures *d, size_t n, char **files, bool skip_bad)
{
    reader r = { .d = d };

    *d = (pictures){ .path = "the command line", .n = n, .file = allocate(n, sizeof *d->file) };
    for (size_t i = 0; i < n; i++) d->file[i] = copy(files[i]);
    if (skip_bad) drop_bad(&r);
    if (d->n == 0) die("%s: no images", d->path);
}

void pictures_free(pictures *d)
{
    for (size_t i = 0; d->file && i < d->n; i++) free(d->file[i]);
    free(d->file);
    free(d->label);
    idx_free(&d->images);
    *d = (pictures){ 0 };
}

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) hash = (hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
    return hash;
}

uint64_t pictures_hash(const pictures *d)
{
    uint64_t hash = hash_bytes(0xcbf29ce484222325u, d->label, d->n * sizeof *d->label);

    if (!d->file) return hash_bytes(hash, d->images.bytes, d->n * d->images.height * d->images.width);
    for (size_t i = 0; i < d->n; i++) {
        const char *slash = strrchr(d->file[i], '/'),
                   *name = slash ? slash + 1 : d->file[i]; /* a moved folder is the same */
        hash = hash_bytes(hash, name, strlen(name) + 1);
    }
    return hash;
}

bool pictures_decode(const pictures *d, size_t row, image *im, char *error, size_t error_size)
{
    if (d->file) return image_read(im, d->file[row], error, error_size);
    const size_t n = d->images.height * d->images.width;
    *im = (image){ .width = d->images.width, .height = d->images.height, .rgb = malloc(3 * n) };
    if (!im->rgb) return fail(error, error_size, "no memory for an image");
    for (size_t i = 0; i < 3 * n; i++) im->rgb[i] = d->images.bytes[row * n + i / 3];
    return true;
}
