/* tune.h - choose the parameters of the tuned kernels. */
#ifndef CLP_TUNE_H
#define CLP_TUNE_H

#include "device.h"

/* Set ctx->tuning: what clpeft_tune kept for this device if there is something, else from device facts. */
void clp_tune_choose(clpeft_context *ctx);

/* Keep parameters for this device. */
void clp_tune_keep(const clpeft_context *ctx, const clp_tuning *tuning);

#endif
