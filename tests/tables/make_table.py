"""Writes distributions.txt: log densities and moments of the library's distributions from an independent source, SciPy
and mpmath. Run once (Debian: python3-scipy, python3-mpmath), by hand: python3 make_table.py > distributions.txt.

A line is: call in the language, then z, log_pdf, entropy, mean, variance (nan: not compared). Inputs are rounded to
float first, so that both precisions see the same numbers; log_pdf is computed with 40 digits by mpmath from the density
as written in the literature, and compared here with scipy.stats wherever that has the family. Vectors: [a; b; c].
"""
import sys
import warnings
import mpmath as mp
import numpy as np
from scipy import stats

warnings.filterwarnings("ignore")
mp.mp.dps = 40
F = lambda x: float(np.float32(x))
M = mp.mpf
nan = float("nan")
rows = 0


def show(x):
    return "[" + ";".join(repr(F(v)) for v in x) + "]" if isinstance(x, (list, tuple)) else repr(F(x))


def put(call, z, log_pdf, entropy=None, mean=None, variance=None, scipy=None):
    global rows
    value = float(log_pdf)
    if scipy is not None and np.isfinite(scipy) and abs(scipy - value) > 1e-6 * max(1, abs(value)):
        print(f"scipy disagrees: {call} {z}: {value!r} {scipy!r}", file=sys.stderr)
    text = lambda v: "nan" if v is None else repr(float(v))
    vector = lambda v: "nan" if v is None else "[" + ";".join(repr(float(t)) for t in v) + "]" if isinstance(v, (list, tuple)) else repr(float(v))
    print(f"{call}|{show(z)}|{value!r}|{text(entropy)}|{vector(mean)}|{vector(variance)}")
    rows += 1


def call(name, **parameters):
    return f"{name}({', '.join(f'{k} = {show(v)}' for k, v in parameters.items())})"


locations = [(0, 1), (0.3, 0.05), (-2.5, 4), (100, 1e-3), (0, 1e-6), (1, 300)]
steps = [0, 1e-4, -0.3, 0.7, -1, 2, -4.5, 8, -15, 30]


def real_family(name, first, second, density, entropy, mean, variance, scipy=None, distances=steps):
    for m, s in locations:
        m, s = F(m), F(s)
        for d in distances:
            z = F(m + d * s)
            put(call(name, **{first: m, second: s}), z, density(M(z), M(m), M(s)), entropy(M(s)), mean(M(m), M(s)), variance(M(s)),
                scipy.logpdf(z, m, s) if scipy else None)


def two_parameters(name, names, settings, points, density, entropy=None, mean=None, variance=None, scipy=None):
    for setting in settings:
        p = [F(v) for v in setting]
        for z in points(*p):
            z = F(z)
            q = [M(v) for v in p]
            get = lambda f: None if f is None else f(*q)
            put(call(name, **dict(zip(names, p))), z, density(M(z), *q), get(entropy), get(mean), get(variance),
                scipy(z, *p) if scipy else None)


gamma_points = lambda a, b: [a / b * f for f in (1e-12, 1e-4, 0.03, 0.5, 0.9, 1, 1.05, 2, 6, 30)]
unit_points = [1e-20, 1e-6, 0.01, 0.2, 0.5, 0.7, 0.9, 0.99, 1 - 2.0**-20]
shapes = [(0.01, 2), (0.3, 0.3), (1, 1), (2.5, 1e-3), (8, 40), (9.99, 1), (300, 7), (2e4, 1e3)]
log, exp, pi, lg, psi = mp.log, mp.exp, mp.pi, mp.loggamma, mp.digamma
half = M(1) / 2

real_family("normal", "mean", "sd", lambda z, m, s: -((z - m) / s) ** 2 / 2 - log(s) - log(2 * pi) / 2,
            lambda s: half + log(2 * pi) / 2 + log(s), lambda m, s: m, lambda s: s**2, stats.norm)
two_parameters("normal", ("mean", "variance"), [(0, 1), (1, 1e-6), (-3, 50), (0.1, 2e4), (5, 0.3)], lambda m, v: [m + d * v**0.5 for d in steps],
               lambda z, m, v: -((z - m) ** 2) / v / 2 - log(v) / 2 - log(2 * pi) / 2, lambda m, v: half + log(2 * pi * v) / 2, lambda m, v: m, lambda m, v: v)
real_family("laplace", "mean", "scale", lambda z, m, s: -abs(z - m) / s - log(2 * s), lambda s: 1 + log(2 * s), lambda m, s: m,
            lambda s: 2 * s**2, stats.laplace)
real_family("cauchy", "location", "scale", lambda z, m, s: -log(pi * s) - log(1 + ((z - m) / s) ** 2), lambda s: log(4 * pi * s),
            lambda m, s: None, lambda s: None, stats.cauchy, steps + [1e6, -1e12, 1e18])
real_family("logistic", "mean", "scale", lambda z, m, s: -(z - m) / s - log(s) - 2 * log(1 + exp(-(z - m) / s)), lambda s: log(s) + 2,
            lambda m, s: m, lambda s: (pi * s) ** 2 / 3, stats.logistic, steps + [80, -80])
real_family("gumbel", "location", "scale", lambda z, m, s: -(z - m) / s - exp(-(z - m) / s) - log(s), lambda s: log(s) + mp.euler + 1,
            lambda m, s: m + mp.euler * s, lambda s: (pi * s) ** 2 / 6, stats.gumbel_r, steps + [80, -10])
two_parameters("student_t", ("dof", "location", "scale"),
               [(0.5, 0, 1), (1, 0, 2), (3, 1, 0.1), (10, -2, 1), (100, 0, 1e-4), (5000, 0, 3)], lambda v, m, s: [m + d * s for d in steps + [1e5, -1e15]],
               lambda z, v, m, s: lg((v + 1) / 2) - lg(v / 2) - log(v * pi) / 2 - log(s) - (v + 1) / 2 * log(1 + ((z - m) / s) ** 2 / v),
               lambda v, m, s: (v + 1) / 2 * (psi((v + 1) / 2) - psi(v / 2)) + log(v) / 2 + log(mp.beta(v / 2, half)) + log(s),
               lambda v, m, s: m, lambda v, m, s: s**2 * v / (v - 2) if v > 2 else None, lambda z, v, m, s: stats.t.logpdf(z, v, m, s))
two_parameters("generalized_normal", ("mean", "scale", "shape"), [(0, 1, 0.5), (1, 0.1, 1), (0, 2, 2), (-1, 1, 0.3), (0, 1e-3, 4), (2, 5, 1.3)],
               lambda m, s, p: [m + d * s for d in steps], lambda z, m, s, p: log(p) - log(2 * s) - lg(1 / p) - (abs(z - m) / s) ** p,
               lambda m, s, p: 1 / p - log(p) + log(2 * s) + lg(1 / p), lambda m, s, p: m, lambda m, s, p: s**2 * mp.gamma(3 / p) / mp.gamma(1 / p),
               lambda z, m, s, p: stats.gennorm.logpdf(z, p, m, s))
two_parameters("horseshoe", ("scale",), [(1,), (0.1,), (1e-4,), (30,)], lambda s: [s * d for d in (1e-12, 1e-5, 1e-2, -0.3, 1, 1.5, -3, 10, 100, 1e4, -1e6, 3e7, 1e12)],
               lambda z, s: (lambda x: log(mp.e1(x)) + x)((z / s) ** 2 / 2) - log(s) - log(2 * pi**3) / 2)
normal = lambda z, m, s: exp(-((z - m) / s) ** 2 / 2) / s / mp.sqrt(2 * pi)
two_parameters("spike_slab", ("weight", "mean", "sd", "spike_sd"), [(0.1, 0, 1, 0.01), (0.5, 2, 0.5, 0.1), (0, 1, 1, 0.2), (1, 1, 1, 0.2), (1e-6, 0, 3, 0.05)],
               lambda w, m, s, t: steps, lambda z, w, m, s, t: log(w * normal(z, m, s) + (1 - w) * normal(z, 0, t)), None, lambda w, m, s, t: w * m,
               lambda w, m, s, t: w * s**2 + (1 - w) * t**2 + w * (1 - w) * m**2)
two_parameters("spike_slab", ("weight", "mean", "sd"), [(0.1, 0, 1), (0.5, 2, 0.5), (0.9, 0, 1e-3), (1e-6, 1, 3), (0.3, -4, 20)], lambda w, m, s: steps,
               lambda z, w, m, s: log(1 - w) if z == 0 else log(w * normal(z, m, s)), None, lambda w, m, s: w * m, lambda w, m, s: w * s**2 + w * (1 - w) * m**2)
two_parameters("uniform", ("low", "high"), [(0, 1), (-3, 5), (0.1, 0.1001), (-1e6, 1e6), (2, 7)], lambda a, b: [a + (b - a) * f for f in (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.95)],
               lambda z, a, b: -log(b - a), lambda a, b: log(b - a), lambda a, b: (a + b) / 2, lambda a, b: (b - a) ** 2 / 12)
for name, rate in (("rate", lambda r: r), ("scale", lambda r: 1 / r)):
    two_parameters("exponential", (name,), [(1,), (1e-6,), (0.1,), (7,), (1e5,)], lambda r: [f / rate(r) for f in (0, 1e-6, 0.1, 0.5, 1, 2, 5, 20, 80, 1000)],
                   lambda z, r: log(rate(r)) - rate(r) * z, lambda r: 1 - log(rate(r)), lambda r: 1 / rate(r), lambda r: 1 / rate(r) ** 2)
gamma = lambda z, a, b: a * log(b) + (a - 1) * log(z) - b * z - lg(a)
for name, rate in (("rate", lambda r: r), ("scale", lambda r: 1 / r)):
    two_parameters("gamma", ("shape", name), shapes, lambda a, r: gamma_points(a, rate(r)), lambda z, a, r: gamma(z, a, rate(r)),
                   lambda a, r: a - log(rate(r)) + lg(a) + (1 - a) * psi(a), lambda a, r: a / rate(r), lambda a, r: a / rate(r) ** 2,
                   lambda z, a, r: stats.gamma.logpdf(z, a, scale=1 / rate(r)))
    two_parameters("inverse_gamma", ("shape", name), shapes, lambda a, r: [1 / t for t in gamma_points(a, 1 / rate(r))],
                   lambda z, a, r: -a * log(rate(r)) - (a + 1) * log(z) - 1 / rate(r) / z - lg(a),
                   lambda a, r: a - log(rate(r)) + lg(a) - (1 + a) * psi(a), lambda a, r: 1 / rate(r) / (a - 1) if a > 1.1 else None,
                   lambda a, r: 1 / rate(r) ** 2 / (a - 1) ** 2 / (a - 2) if a > 2.1 else None, lambda z, a, r: stats.invgamma.logpdf(z, a, scale=1 / rate(r)))
scales = [(1,), (0.1,), (1e-6,), (3,), (500,), (20,)]
positive = lambda s: [s * f for f in (1e-6, 1e-3, 0.1, 0.5, 0.9, 1, 2, 4, 10, 25)]
two_parameters("half_normal", ("sd",), scales, positive, lambda z, s: log(2 / pi) / 2 - log(s) - (z / s) ** 2 / 2, lambda s: log(pi / 2) / 2 + log(s) + half,
               lambda s: s * mp.sqrt(2 / pi), lambda s: s**2 * (1 - 2 / pi), lambda z, s: stats.halfnorm.logpdf(z, 0, s))
two_parameters("half_cauchy", ("scale",), scales, lambda s: positive(s) + [s * 1e6, s * 1e20], lambda z, s: log(2 / pi) - log(s) - log(1 + (z / s) ** 2),
               lambda s: log(2 * pi * s), None, None, lambda z, s: stats.halfcauchy.logpdf(z, 0, s))
two_parameters("log_normal", ("mean", "sd"), [(0, 1), (-3, 0.1), (2, 3), (0, 0.01), (-8, 2), (5, 1)], lambda m, s: [float(np.exp(m + s * d)) for d in (-8, -3, -1, -0.1, 0, 0.2, 1, 2, 5, 8)],
               lambda z, m, s: -((log(z) - m) / s) ** 2 / 2 - log(s * z) - log(2 * pi) / 2, lambda m, s: m + half + log(2 * pi) / 2 + log(s),
               lambda m, s: exp(m + s**2 / 2), lambda m, s: (exp(s**2) - 1) * exp(2 * m + s**2), lambda z, m, s: stats.lognorm.logpdf(z, s, scale=np.exp(m)))
pairs = [(0.01, 0.02), (0.5, 0.5), (1, 1), (2, 0.3), (7, 30), (200, 300), (5000, 3), (1, 1e4)]
two_parameters("beta", ("a", "b"), pairs, lambda a, b: unit_points + [a / (a + b)], lambda z, a, b: (a - 1) * log(z) + (b - 1) * log(1 - z) - log(mp.beta(a, b)),
               lambda a, b: log(mp.beta(a, b)) - (a - 1) * psi(a) - (b - 1) * psi(b) + (a + b - 2) * psi(a + b), lambda a, b: a / (a + b),
               lambda a, b: a * b / (a + b) ** 2 / (a + b + 1), lambda z, a, b: stats.beta.logpdf(z, a, b))
two_parameters("kumaraswamy", ("a", "b"), [(0.1, 0.2), (0.5, 0.5), (1, 1), (2, 0.3), (7, 30), (50, 3)], lambda a, b: unit_points,
               lambda z, a, b: log(a * b) + (a - 1) * log(z) + (b - 1) * log(1 - z**a), lambda a, b: 1 - 1 / b + (1 - 1 / a) * (mp.harmonic(b)) - log(a * b),
               lambda a, b: b * mp.beta(1 + 1 / a, b), lambda a, b: b * mp.beta(1 + 2 / a, b) - (b * mp.beta(1 + 1 / a, b)) ** 2)
two_parameters("logistic_normal", ("mean", "sd"), [(0, 1), (2, 0.3), (-5, 3), (0, 10), (1, 0.05), (0, 1.8)], lambda a, b: unit_points,
               lambda z, m, s: -((log(z / (1 - z)) - m) / s) ** 2 / 2 - log(s) - log(2 * pi) / 2 - log(z) - log(1 - z))


def concrete(z, alpha, beta, low, high):
    if z <= 0: return log(1 / (1 + exp(-(beta * log(-low / high) - alpha))))
    if z >= 1: return log(1 / (1 + exp(beta * log((1 - low) / (high - 1)) - alpha)))
    x = (z - low) / (high - low)
    t = beta * log(x / (1 - x)) - alpha
    return log(beta) - t - 2 * log(1 + exp(-t)) - log(x * (1 - x)) - log(high - low)


two_parameters("hard_concrete", ("logits", "temperature", "low", "high"), [(0, 2 / 3, -0.1, 1.1), (3, 0.5, -0.1, 1.1), (-6, 0.3, -0.2, 1.5), (1, 1, -0.05, 1.01), (20, 0.6, -0.1, 1.1)],
               lambda *p: [0, 1e-5, 0.05, 0.2, 0.4, 0.5, 0.6, 0.8, 0.99, 1], concrete)
logits = (-80, -20, -3, -0.5, 0, 1e-3, 2, 7, 30, 80)
sigmoid = lambda t: 1 / (1 + exp(-t))
entropy_of = lambda p: sum((-q * log(q) for q in p if q > 0), M(0))
two_parameters("bernoulli", ("logits",), [(t,) for t in logits] + [(1.7,), (-9.3,), (0.25,), (12,), (-45,), (55,), (4,), (-1.1,)], lambda t: [0, 1, 0.3], lambda z, t: z * t - log(1 + exp(t)),
               lambda t: entropy_of((sigmoid(t), sigmoid(-t))), sigmoid, lambda t: sigmoid(t) * sigmoid(-t))
two_parameters("bernoulli", ("prob",), [(t,) for t in (1e-30, 1e-6, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999, 1 - 2.0**-20)], lambda t: [0, 1, 0.3],
               lambda z, p: z * log(p) + (1 - z) * log(1 - p), lambda p: entropy_of((p, 1 - p)), lambda p: p, lambda p: p * (1 - p))
binomial = lambda z, n, p, q: log(mp.binomial(n, z)) + z * log(p) + (n - z) * log(q)
trials = [(1, 0.3), (5, 0.01), (20, 0.5), (300, 0.9), (10000, 0.001), (1000, 0.4), (50, 0.3), (120, 0.99)]
two_parameters("binomial", ("trials", "prob"), trials, lambda n, p: sorted({0, 1, n, round(n * p), round(n * p) + (1 if n > 1 else 0), round(n / 3), round(n / 2), n - 1, round(n * 0.8), round(n * 0.05)}),
               lambda z, n, p: binomial(z, n, p, 1 - p), None, lambda n, p: n * p, lambda n, p: n * p * (1 - p), lambda z, n, p: stats.binom.logpmf(z, n, p))
two_parameters("binomial", ("trials", "logits"), [(1, 3), (5, -80), (20, 80), (300, 2), (10000, -7), (1000, 0.4), (50, -1), (120, 9)], lambda n, p: sorted({0, 1, n, round(n / 3), round(n / 2), n - 1, round(n * 0.8), round(n * 0.05), round(n * 0.6), round(n * .9)}),
               lambda z, n, t: binomial(z, n, sigmoid(t), sigmoid(-t)), None, lambda n, t: n * sigmoid(t), lambda n, t: n * sigmoid(t) * sigmoid(-t))
two_parameters("poisson", ("rate",), [(1e-6,), (0.1,), (1,), (5,), (80,), (3000,)], lambda r: sorted({0, 1, 2, 5, 10, 11, 50, round(r), round(r * 1.1) + 3, round(2 * r) + 7}), lambda z, r: z * log(r) - r - lg(z + 1),
               None, lambda r: r, lambda r: r, lambda z, r: stats.poisson.logpmf(z, r))
negative = lambda z, r, p, q: lg(z + r) - lg(z + 1) - lg(r) + z * log(p) + r * log(q)
counts = lambda *p: [0, 1, 2, 5, 10, 40, 100, 1000, 7, 3]
two_parameters("negative_binomial", ("failures", "prob"), [(0.01, 0.5), (1, 0.1), (3.5, 0.9), (20, 0.01), (300, 0.7), (5, 0.999)], counts, lambda z, r, p: negative(z, r, p, 1 - p), None,
               lambda r, p: r * p / (1 - p), lambda r, p: r * p / (1 - p) ** 2, lambda z, r, p: stats.nbinom.logpmf(z, r, 1 - p))
two_parameters("negative_binomial", ("failures", "logits"), [(0.01, 0.5), (1, -80), (3.5, 4), (20, -3), (300, 0.7), (5, 40)], counts, lambda z, r, t: negative(z, r, sigmoid(t), sigmoid(-t)), None,
               lambda r, t: r * exp(t), lambda r, t: r * exp(t) * (1 + exp(t)))

# ---- vectors of three -----------------------------------------------------------------------------------------------
random = np.random.default_rng(1)
floats = lambda v: [F(t) for t in v]
for i in range(54):
    z, s = floats(random.normal(size=3) * 10.0 ** random.integers(-6, 3)), F(10.0 ** random.integers(-4, 3))
    m = 3
    put(call("group_laplace", scale=s), z, -mp.sqrt(sum(M(t) ** 2 for t in z)) / M(s) - m * log(M(s)) - log(2) - M(m) / 2 * log(pi) - lg(m) + lg(M(m) / 2),
        m + m * log(M(s)) + log(2) + M(m) / 2 * log(pi) + lg(m) - lg(M(m) / 2), [0, 0, 0], [M(s) ** 2 * 4] * 3)
    c = floats(10.0 ** random.uniform(-2, 4, size=3))
    z = floats(random.dirichlet(np.maximum(c, 0.5)) * (1 - 1e-3) + 1e-3 / 3)
    C, total = [M(t) for t in c], sum(M(t) for t in c)
    put(call("dirichlet", concentration=c), z, sum((k - 1) * log(M(t)) for k, t in zip(C, z)) + lg(total) - sum(lg(k) for k in C),
        sum(lg(k) for k in C) - lg(total) + (total - 3) * psi(total) - sum((k - 1) * psi(k) for k in C), [k / total for k in C],
        [k * (total - k) / total**2 / (total + 1) for k in C])
    t = floats(random.normal(size=3) * random.choice([1, 10, 80]))
    z = [0.0, 0.0, 0.0]
    z[i % 3] = 1.0
    weights = [exp(M(v)) for v in t]
    p = [w / sum(weights) for w in weights]
    put(call("categorical", logits=t), z, log(p[i % 3]), entropy_of(p), p, [v * (1 - v) for v in p])
    p = floats(random.dirichlet([1, 1, 1]))
    put(call("categorical", prob=p), z, log(M(p[i % 3])), entropy_of([M(v) for v in p]), p, [M(v) * (1 - M(v)) for v in p])
    mean, L = floats(random.normal(size=3)), np.tril(random.normal(size=(3, 3))) + 2 * np.eye(3)
    L = [[F(v) for v in row] for row in L]
    z = floats(np.array(mean) + np.array(L) @ random.normal(size=3) * random.choice([0.1, 1, 5]))
    r = mp.lu_solve(mp.matrix(L), mp.matrix([M(a) - M(b) for a, b in zip(z, mean)]))
    size = sum(log(abs(M(L[k][k]))) for k in range(3))
    covariance = [sum(M(v) ** 2 for v in row) for row in L]
    put(f"normal(mean = {show(mean)}, cholesky = [{';'.join(show(row) for row in L)}])", z, -(r.T * r)[0] / 2 - size - 3 * half * log(2 * pi), size + 3 * half * (1 + log(2 * pi)), mean, covariance)
print(f"{rows} rows", file=sys.stderr)
