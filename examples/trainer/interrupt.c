#include "interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t seen;

static void remember(int signal)
{
    seen = signal;
}

void interrupt_catch(void)
{
    /* RESETHAND: the next signal of the same kind acts as it always does. RESTART: no read or write fails for it. */
    struct sigaction action = { .sa_handler = remember, .sa_flags = (int)(SA_RESETHAND | SA_RESTART) };

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
}

bool interrupt_seen(void)
{
    return seen != 0;
}

bool interrupt_ending(void)
{
    return seen == SIGINT || seen == SIGTERM;
}
