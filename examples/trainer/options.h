/* options.h - command-line options as a table: one row is the argument, its help, its range, the variable it sets, its
 * place in the log's "config" and in the checkpoint.
 *
 * Order of calls: options_scan keeps the texts of the command line; the program then sets its defaults, which may depend
 * on options_given; options_restore adds what a checkpoint fixes; options_apply sets the variables. All of them die
 * with a line that names the option. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    OPTION_TEXT,   /* const char * */
    OPTION_SIZE,   /* size_t */
    OPTION_U64,    /* uint64_t */
    OPTION_FLOAT,  /* float, finite */
    OPTION_CHOICE, /* an enumeration, in the order of its values from 0 */
    OPTION_FLAG    /* int, 0 or 1; takes no argument */
} option_type;

typedef struct {
    const char *name, *argument, *help;
    option_type type;
    void *value;
    double low, high;           /* of numbers, inclusive */
    const char *const *choices; /* of OPTION_CHOICE, NULL at the end */
    bool saved;                 /* decides the result of a training: a checkpoint holds it */
    const char *given;          /* text of the command line; NULL: none */
    char *fixed;                /* text of the checkpoint; NULL: none */
} option;

typedef struct {
    const char *title;
    option *options; /* a row without name ends them */
} option_group;

/* Copy the rows of `from`, and the one without name that ends them, to `to`, but for those whose names are in `except` (NULL ends it):
 * for a program to which some rows of a shared table mean nothing. Before options_scan. */
void options_without(option *to, const option *from, const char *const *except);

/* groups: a group without title ends them. Of an option that is given twice the last counts. Returns the index in argv of the first argument that is no option; argv is
 * reordered so that those stand last. */
int options_scan(const option_group *groups, int argc, char **argv);

/* The text given for an option of the table, or NULL; and the same, or else the checkpoint's text. */
const char *options_given(const option_group *groups, const char *name);
const char *options_text(const option_group *groups, const char *name);

/* Dies unless the option is given. */
void options_require(const option_group *groups, const char *name);

/* Value of one of an option's choices; dies when there is none. */
int option_choice(const option *o, const char *text);
const option *options_find(const option_group *groups, const char *name); /* NULL: none */

/* Take the saved options from the options_json of a checkpoint, at path. An option that is given too must agree with it. */
void options_restore(const option_group *groups, const json_t *saved, const char *path);
void options_apply(const option_group *groups);

/* {"name": value, ...} of all options, or of the saved ones only. The caller releases it. */
json_t *options_json(const option_group *groups, bool saved_only);

/* Print the options given as words of a shell command, each after a space, without those named in except (NULL ends it);
 * and one word. */
void options_print(const option_group *groups, const char *const *except);
void options_print_word(const char *word);

/* The table for --help, with the values of the variables as defaults. */
void options_help(const option_group *groups);

#endif
