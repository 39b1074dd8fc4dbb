/* exp.cl - the exponential function on lanes: less than 1.1 ulp from exp(x) down to x = -86.9; 0 below -87, infinite above
 * 88.73, NaN for NaN. x = n log 2 + r, |r| <= log(2) / 2: a minimax polynomial for 2 exp(r), times 2^(n-1). */
static inline V exp_lanes(V x)
{
    x = x < -87.3f ? (V)(-87.3f) : x;
    x = x > 89.0f ? (V)(89.0f) : x;
    /* 1.5 * 2^23 + 126: the sum's low bits are n + 126, the biased exponent of 2^(n-1). */
    const V t = fma(x, (V)(1.44269504f), (V)(12583038.0f)), n = t - 12583038.0f;
    V r = fma(n, (V)(-0.693145752f), x);
    r = fma(n, (V)(-1.42860677e-6f), r);
    V y = fma(r, (V)(2.76736715e-3f), (V)(1.67496481e-2f));
    y = fma(y, r, (V)(8.33364524e-2f));
    y = fma(y, r, (V)(0.333328401f));
    y = fma(y, r, (V)(0.999999842f));
    y = fma(y, r, (V)(2.00000007f));
    y = fma(y, r, (V)(2.0f));
    return y * AS_V(AS_VI(t) << 23);
}
