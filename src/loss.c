/* loss.c - cross entropy. */
#include "clpeft/op.h"
#include "launch.h"

#include <math.h>

clpeft_status clpeft_cross_entropy(clpeft_context *ctx, size_t B, size_t C, clpeft_view x, clpeft_view labels,
                                   float weight, clpeft_view loss, clpeft_view correct, clpeft_view dx, CLPEFT_QUEUE)
{
    static const char *const options[] = { "", "-D CORRECT", "-D GRADIENT", "-D CORRECT -D GRADIENT" };
    clpeft_status status = CLPEFT_OK;
    clp_stream s;

    TRY(clp_begin(&s, "clpeft_cross_entropy", ctx, queue, n_wait, wait));
    REQUIRE(B > 0 && C > 0, CLPEFT_INVALID_SIZE, "clpeft_cross_entropy: B is %zu, C is %zu", B, C);
    REQUIRE(!isnan(weight), CLPEFT_INVALID_ARGUMENT, "clpeft_cross_entropy: weight is NaN");
    TRY(clp_check(&s, "x", x, B, C));
    TRY(clp_check_vector(&s, "labels", labels, B));
    TRY(clp_check_vector(&s, "loss", loss, B));
    if (correct.buf) TRY(clp_check_vector(&s, "correct", correct, B));
    if (dx.buf) TRY(clp_check(&s, "dx", dx, B, C));
    const size_t local = ctx->tuning.group, global = B * local;
    const clp_arg args[] = { SIZE(C), VIEW(x), VIEW(labels), VALUE(weight), VIEW(loss), VIEW(correct), VIEW(dx) };
    s.flops = 15.0 * (double)B * (double)C, s.bytes = (dx.buf ? 8.0 : 4.0) * (double)B * (double)C;
    TRY(clp_run(&s, "loss", "cross_entropy", options[!!correct.buf + 2 * !!dx.buf], ARGS(args), 1, &global, &local));
    status = clp_end(&s, event);
out:
    return status;
}
