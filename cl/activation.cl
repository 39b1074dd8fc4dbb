/* activation.cl - activation functions. */
/* Activations of clpeft_activation, value and derivative, on lanes. F_ numbers are the enumeration's. */
#define F_IDENTITY 0
#define F_GELU 1
#define F_GELU_TANH 2
#define F_SILU 3
#define F_RELU 4
#define F_TANH 5

/* Phi(x), the normal distribution, from e = exp(-x^2 / 2):  Phi(-|x|) = e P(q), q = 1 / (1 + p |x|). P: a minimax fit of degree 9
 * on |x| < 13, relative error 2e-8; no cancellation where Phi is small. */
static inline V normal(V x, V e)
{
    const V q = 1.0f / (1.0f + 0.26870057685f * fabs(x));
    V r = fma((V)(0.0294248795f), q, (V)(-0.130842762f));
    r = fma(r, q, (V)(0.181284153f));
    r = fma(r, q, (V)(-0.0799484692f));
    r = fma(r, q, (V)(0.114439587f));
    r = fma(r, q, (V)(0.0695856159f));
    r = fma(r, q, (V)(0.101881716f));
    r = fma(r, q, (V)(0.106970497f));
    r = fma(r, q, (V)(0.107204793f));
    r *= q * e;
    return select(1.0f - r, r, x < (V)(0.0f));
}

static inline V sigmoid(V x)
{
    return 1.0f / (1.0f + exp_lanes(-x));
}

/* The tanh approximation of GELU is x sigmoid(2 u),  2 u = x (TANH_1 + TANH_3 x^2), for 1 + tanh u = 2 sigmoid(2 u). */
#define TANH_1 1.5957691216f /* 2 sqrt(2 / pi) */
#define TANH_3 0.0713548163f /* 0.044715 times that */

/* f(x), and f'(x) with little more work. */
static inline V activate_both(int f, V x, V *slope)
{
    if (f == F_GELU) {
        const V e = exp_lanes(-0.5f * x * x), g = normal(x, e);
        *slope = fma(x * 0.3989422804f, e, g); /* 1 / sqrt(2 pi) */
        return x * g;
    }
    if (f == F_GELU_TANH) {
        const V s = x * x, g = sigmoid(x * fma((V)(TANH_3), s, (V)(TANH_1)));
        *slope = fma(x * g * (1.0f - g), fma((V)(3.0f * TANH_3), s, (V)(TANH_1)), g);
        return x * g;
    }
    if (f == F_SILU) {
        const V g = sigmoid(x);
        *slope = fma(x * g, 1.0f - g, g);
        return x * g;
    }
    if (f == F_RELU) {
        *slope = select((V)(0.0f), (V)(1.0f), x > (V)(0.0f));
        return select(x, (V)(0.0f), x < (V)(0.0f)); /* NaN stays */
    }
    if (f == F_TANH) {
        const V t = tanh(x);
        *slope = fma(-t, t, (V)(1.0f));
        return t;
    }
    *slope = (V)(1.0f);
    return x;
}

static inline V activate(int f, V x)
{
    V slope;
    return activate_both(f, x, &slope);
}

static inline V activate_slope(int f, V x)
{
    V slope;
    activate_both(f, x, &slope);
    return slope;
}
