#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

#define FOR_EACH(o, groups)                                              \
    for (const option_group *group_ = (groups); group_->title; group_++) \
        for (option *o = group_->options; o->name; o++)

void options_without(option *to, const option *from, const char *const *except)
{
    for (; from->name; from++) {
        const char *const *e = except;
        while (*e && strcmp(*e, from->name) != 0) e++;
        if (!*e) *to++ = *from;
    }
    *to = *from;
}

/* ---- text to value ---- */

const option *options_find(const option_group *groups, const char *name)
{
    FOR_EACH(o, groups)
    if (!strcmp(o->name, name)) return o;
    return NULL;
}

const char *options_given(const option_group *groups, const char *name)
{
    const option *o = options_find(groups, name);
    return o ? o->given : NULL;
}

const char *options_text(const option_group *groups, const char *name)
{
    const option *o = options_find(groups, name);
    return o && !o->given ? o->fixed : options_given(groups, name);
}

void options_require(const option_group *groups, const char *name)
{
    if (!options_given(groups, name)) die("--%s is missing; --help lists the options", name);
}

int option_choice(const option *o, const char *text)
{
    char known[256] = "";

    for (int i = 0; o->choices[i]; i++) {
        if (!strcmp(o->choices[i], text)) return i;
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", o->choices[i]);
    }
    die("--%s %s: not one of %s", o->name, text, known);
}

static void check_range(const option *o, const char *text, double value)
{
    if (value < o->low) die("--%s %s: below %g", o->name, text, o->low);
    if (value > o->high) die("--%s %s: above %g", o->name, text, o->high);
}

static uint64_t whole_number(const option *o, const char *text)
{
    char *end;

    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || errno) die("--%s %s: not a whole number", o->name, text);
    check_range(o, text, (double)value);
    return value;
}

static float real_number(const option *o, const char *text)
{
    char *end;
    const double value = strtod(text, &end);

    if (end == text || *end || isspace((unsigned char)*text)) die("--%s %s: not a number", o->name, text);
    if (!isfinite((float)value)) die("--%s %s: not a finite number", o->name, text);
    check_range(o, text, value);
    return (float)value;
}

static void set_value(const option *o, const char *text)
{
    switch (o->type) {
    case OPTION_TEXT:
        if (!*text) die("--%s: empty", o->name);
        *(const char **)o->value = text;
        break;
    case OPTION_SIZE: *(size_t *)o->value = (size_t)whole_number(o, text); break;
    case OPTION_U64: *(uint64_t *)o->value = whole_number(o, text); break;
    case OPTION_FLOAT: *(float *)o->value = real_number(o, text); break;
    case OPTION_CHOICE: *(int *)o->value = option_choice(o, text); break;
    case OPTION_FLAG: *(int *)o->value = strcmp(text, "false") != 0; break;
    }
}

/* ---- value to text and JSON ---- */

enum { TEXT_SIZE = 64 };

/* The shortest text that reads back to the same float: 0.001, not 0.00100000005. */
static void float_text(float value, char text[TEXT_SIZE])
{
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, TEXT_SIZE, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) return;
    }
}

/* What set_value would read back to the same value. */
static const char *value_text(const option *o, char text[TEXT_SIZE])
{
    switch (o->type) {
    case OPTION_TEXT: return *(const char **)o->value;
    case OPTION_SIZE: snprintf(text, TEXT_SIZE, "%zu", *(size_t *)o->value); break;
    case OPTION_U64: snprintf(text, TEXT_SIZE, "%llu", (unsigned long long)*(uint64_t *)o->value); break;
    case OPTION_FLOAT: float_text(*(float *)o->value, text); break;
    case OPTION_CHOICE: return o->choices[*(int *)o->value];
    case OPTION_FLAG: return *(int *)o->value ? "true" : "false";
    }
    return text;
}

static json_t *value_json(const option *o)
{
    char text[TEXT_SIZE];
    const char *value = value_text(o, text);

    switch (o->type) {
    case OPTION_SIZE: return json_integer((json_int_t) * (size_t *)o->value);
    case OPTION_U64: return json_integer((json_int_t) * (uint64_t *)o->value);
    case OPTION_FLOAT: return json_real(strtod(value, NULL));
    case OPTION_FLAG: return json_boolean(*(int *)o->value);
    default: break;
    }
    json_t *string = value ? json_string(value) : NULL;
    return string ? string : json_null(); /* none, or a path that is not UTF-8 */
}

json_t *options_json(const option_group *groups, bool saved_only)
{
    json_t *object = json_object();

    FOR_EACH(o, groups)
    if (o->saved || !saved_only) json_object_set_new(object, o->name, value_json(o));
    return object;
}

/* ---- the command line ---- */

int options_scan(const option_group *groups, int argc, char **argv)
{
    enum { MAX_OPTIONS = 96 };
    struct option long_options[MAX_OPTIONS + 1] = { { 0 } };
    option *rows[MAX_OPTIONS];
    int n = 0, index, code;

    FOR_EACH(o, groups)
    {
        if (n == MAX_OPTIONS) die("more than %d options", MAX_OPTIONS);
        rows[n] = o;
        long_options[n++] =
            (struct option){ o->name, o->type == OPTION_FLAG ? no_argument : required_argument, NULL, 0 };
    }
    while ((code = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        if (code != 0) exit(EXIT_BAD_INPUT); /* getopt_long has said what is wrong */
        rows[index]->given = optarg ? optarg : "true";
    }
    return optind;
}

void options_restore(const option_group *groups, const json_t *saved, const char *path)
{
    FOR_EACH(o, groups)
    {
        const json_t *value = o->saved ? json_object_get(saved, o->name) : NULL;
        char text[TEXT_SIZE];

        if (!value || json_is_null(value)) continue;
        if (json_is_integer(value))
            snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
        else if (json_is_real(value))
            float_text((float)json_real_value(value), text);
        else if (!json_is_boolean(value) && !json_is_string(value))
            die("%s: the setting %s is damaged", path, o->name);
        free(o->fixed);
        o->fixed = strdup(json_is_string(value)    ? json_string_value(value)
                          : json_is_boolean(value) ? (json_is_true(value) ? "true" : "false")
                                                   : text);
        if (!o->fixed) die("no memory for settings");
    }
}

void options_apply(const option_group *groups)
{
    FOR_EACH(o, groups)
    {
        char text[TEXT_SIZE];

        if (o->fixed) set_value(o, o->fixed);
        if (!o->given) continue;
        set_value(o, o->given);
        if (o->fixed && strcmp(value_text(o, text), o->fixed) != 0)
            die("--%s %s: the checkpoint was trained with %s, which cannot change", o->name, o->given, o->fixed);
    }
}

void options_print_word(const char *word)
{
    putchar(' ');
    if (*word && !word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,+@%")]) {
        fputs(word, stdout);
        return;
    }
    putchar('\'');
    for (; *word; word++) fputs(*word == '\'' ? "'\\''" : (char[]){ *word, '\0' }, stdout);
    putchar('\'');
}

void options_print(const option_group *groups, const char *const *except)
{
    FOR_EACH(o, groups)
    {
        const char *const *e = except;
        while (*e && strcmp(*e, o->name) != 0) e++;
        if (!o->given || *e) continue;
        printf(" --%s", o->name);
        if (o->type != OPTION_FLAG) options_print_word(o->given);
    }
}

void options_help(const option_group *groups)
{
    for (const option_group *group = groups; group->title; group++) {
        printf("\n%s:\n", group->title);
        for (const option *o = group->options; o->name; o++) {
            char left[64], text[TEXT_SIZE];
            const char *value = value_text(o, text);
            snprintf(left, sizeof left, "--%s %s", o->name, o->argument ? o->argument : "");
            printf("  %-22s %s", left, o->help);
            if (o->type == OPTION_CHOICE)
                for (int i = 0; o->choices[i]; i++) printf("%s%s", i ? ", " : ": ", o->choices[i]);
            const bool unset = o->type == OPTION_U64 && (double)*(uint64_t *)o->value < o->low;
            if (o->type != OPTION_FLAG && value && !unset) printf(" (%s)", value);
            putchar('\n');
        }
    }
}
