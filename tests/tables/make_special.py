"""Writes special.txt: special functions from an independent source, mpmath with 40 digits. Run once (Debian:
python3-scipy, python3-mpmath), by hand: python3 make_special.py > special.txt.

A line is: op, its operands, its value. Quantiles begin at SciPy's and are solved for to 30 digits; their slopes are
derivatives of the distribution function in the shape over minus the density.
"""
import mpmath as mp
from scipy import special

mp.mp.dps = 40
M = mp.mpf


def put(op, *numbers):
    print(op, *[repr(float(x)) for x in numbers])


def stirling(x):
    return mp.loggamma(x) - (x - M(1) / 2) * mp.log(x) + x - mp.log(2 * mp.pi) / 2


for n in range(4):
    for x in (1e-3, 0.2, 1, 2.5, 7, 30, 1e3, 1e6):
        put("stirling", n, x, mp.diff(stirling, M(x), n))
for n in (1, 2, 3, 5):
    for x in (1e-4, 0.1, 0.9, 1.5, 6, 40, 500):
        put("exponential_integral", n, x, mp.exp(M(x)) * mp.expint(n, M(x)))

gamma_below = lambda a, x: mp.gammainc(a, 0, x, regularized=True)
beta_below = lambda a, b, x: mp.betainc(a, b, 0, x, regularized=True)
chances = (1e-6, 0.01, 0.3, 0.5, 0.9, 0.9999)


def quantile(below, u, start):
    """x of below(x) = u, found along log x; None: smaller than is compared, or too near to 1."""
    if not 1e-30 < start or abs(start - 1) < 1e-6:
        return None
    t = mp.log(M(float(start)))
    return mp.exp(mp.findroot(lambda t: below(mp.exp(t)) / M(u) - 1, (t, t + M(1e-7)), solver="secant", tol=1e-50))


for a in (0.05, 0.4, 1, 3.7, 30, 900):
    for u in chances:
        x = quantile(lambda x: gamma_below(M(a), x), u, special.gammaincinv(a, u))
        if x is None:
            continue
        put("gamma_quantile", u, a, x)
        density = mp.exp((M(a) - 1) * mp.log(x) - x - mp.loggamma(a))
        put("gamma_quantile_slope", u, a, -mp.diff(lambda s: gamma_below(s, x), M(a)) / density)
for a, b in ((0.3, 0.6), (1, 1), (2, 5), (40, 3), (0.5, 60), (200, 300)):
    for u in chances:
        x = quantile(lambda x: beta_below(M(a), M(b), x), u, special.betaincinv(a, b, u))
        if x is None:
            continue
        put("beta_quantile", u, a, b, x)
        density = mp.exp((M(a) - 1) * mp.log(x) + (M(b) - 1) * mp.log(1 - x)) / mp.beta(a, b)
        put("beta_quantile_slope_a", u, a, b, -mp.diff(lambda s: beta_below(s, M(b), x), M(a)) / density)
        put("beta_quantile_slope_b", u, a, b, -mp.diff(lambda s: beta_below(M(a), s, x), M(b)) / density)
