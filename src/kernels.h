/* kernels.h - the kernel files of cl/, embedded by cl/embed.py. */
#ifndef CLP_KERNELS_H
#define CLP_KERNELS_H

struct clp_source {
    const char *name, *text; /* "panel", the text of cl/panel.cl */
};

/* The first is cl/common.cl, which is put before each of the others; the last has name NULL. */
extern const struct clp_source clp_sources[];

#endif
