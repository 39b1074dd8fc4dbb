#include "plot.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program.h"

enum { MEAN_OVER = 20 }; /* steps */

typedef struct {
    double step, value;
} point;
typedef struct {
    point *points;
    size_t n, room;
} curve;

static const char *suffix(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot : "";
}

void plot_check_name(const char *path)
{
    if (strcmp(suffix(path), ".svg") != 0 && strcmp(suffix(path), ".png") != 0)
        die("--plot %s: the name must end in .svg or .png", path);
}

/* A step that was logged before is replaced: a run that was resumed from an earlier checkpoint took it again. */
static void add_point(curve *c, double step, const json_t *value)
{
    while (c->n && c->points[c->n - 1].step >= step) c->n--;
    if (!json_is_number(value)) return; /* null: not finite */
    c->points = grow(c->points, &c->room, c->n + 1, sizeof *c->points);
    c->points[c->n++] = (point){ step, json_number_value(value) };
}

static void read_log(FILE *file, const char *measure, curve *loss, curve *score)
{
    char *line = NULL, key[64];
    size_t room = 0;
    ssize_t bytes;

    snprintf(key, sizeof key, "eval_%s", measure);
    rewind(file);
    while ((bytes = getline(&line, &room, file)) > 0) {
        json_t *object = json_loadb(line, (size_t)bytes, 0, NULL);
        const json_t *step = json_object_get(object, "step");
        const json_t *value = json_object_get(object, key);
        if (step && value) add_point(score, json_number_value(step), value);
        if (step && (value = json_object_get(object, "loss"))) add_point(loss, json_number_value(step), value);
        json_decref(object);
    }
    free(line);
}

static void send_curve(FILE *gnuplot, const char *name, const curve *c, size_t mean_over, double scale)
{
    fprintf(gnuplot, "$%s << end\n", name);
    for (size_t i = 0; i < c->n; i++) {
        const size_t first = i + 1 > mean_over ? i + 1 - mean_over : 0;
        double sum = 0;
        for (size_t j = first; j <= i; j++) sum += c->points[j].value;
        fprintf(gnuplot, "%.0f %.6g\n", c->points[i].step, scale * sum / (double)(i + 1 - first));
    }
    fputs("end\n", gnuplot);
}

/* In single quotes, where gnuplot takes every character but the quote as it is. */
static void send_quoted(FILE *gnuplot, const char *text)
{
    putc('\'', gnuplot);
    for (; *text; text++) fputs(*text == '\'' ? "''" : (char[]){ *text, '\0' }, gnuplot);
    putc('\'', gnuplot);
}

static void send_script(FILE *gnuplot, const char *path, const char *part, const curve *loss, const curve *score,
                        const char *measure, const char *unit)
{
    fprintf(gnuplot, "set terminal %s size 1000,420 background 'white'\nset output ",
            !strcmp(suffix(path), ".svg") ? "svg" : "pngcairo");
    send_quoted(gnuplot, part);
    fprintf(gnuplot,
            "\nset multiplot layout 1,2\nunset key\nset grid linetype 1 linecolor '#dddddd'\nset xlabel 'step'\n"
            "set ylabel 'training loss (mean of %d steps)'\n",
            MEAN_OVER);
    if (loss->n) fputs("plot $loss with lines linewidth 2 linecolor '#0072b2'\n", gnuplot);
    fprintf(gnuplot, *unit ? "set ylabel '%s (%s)'\n" : "set ylabel '%s'\n", measure, unit + strspn(unit, " "));
    if (score->n) fputs("plot $score with linespoints linewidth 2 pointtype 7 linecolor '#d55e00'\n", gnuplot);
    fputs("unset multiplot\nunset output\n", gnuplot);
}

void plot_draw(const char *path, log_file *log, const char *measure, double scale, const char *unit)
{
    char part[PATH_SIZE];
    curve loss = { 0 }, score = { 0 };

    if (snprintf(part, sizeof part, "%s.part", path) >= (int)sizeof part)
        die("%.100s...: %s", path, strerror(ENAMETOOLONG));
    read_log(log->file, measure, &loss, &score);
    void (*before)(int) = signal(SIGPIPE, SIG_IGN); /* gnuplot may leave early */
    FILE *gnuplot = popen("command -v gnuplot >/dev/null 2>&1 || exit 127; exec gnuplot >/dev/null 2>&1", "w");
    if (!gnuplot) die("gnuplot: %s", strerror(errno));
    send_curve(gnuplot, "loss", &loss, MEAN_OVER, 1);
    send_curve(gnuplot, "score", &score, 1, scale);
    send_script(gnuplot, path, part, &loss, &score, measure, unit);
    const int status = pclose(gnuplot);
    signal(SIGPIPE, before);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        note("chart skipped: gnuplot is not installed");
    else if (status != 0 || rename(part, path) != 0) {
        unlink(part);
        note("chart skipped: gnuplot could not write %s", path);
    } else
        note("chart: %s", path);
    free(loss.points);
    free(score.points);
}
