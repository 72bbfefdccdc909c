"""The training step of specs/laplace_vae.spm in other frameworks, beside ours.

    peers.py BENCH_STEP NAME=PYTHON...      compare: all programs take turns, medians
    peers.py --serve NAME ROWS              one of them: answers lines "COUNT" with the times of so many steps, ms

NAME is torch or jax, PYTHON an interpreter that can import it. The model is the same everywhere: 784-400-{64,64}-400-784
with ReLU, normal posterior, Laplace prior with the closed-form KL, Bernoulli logits for pixels in [0, 1], the mean over
the batch, Adam with 1e-3; one thread each, on a CPU of its own.
"""
import math
import os
import subprocess
import sys
import time

ROWS = 128
TURNS = 30
BURST = 6  # steps a turn; the first is not counted
LAYERS = {"hidden": (784, 400), "mean": (400, 64), "log_scale": (400, 64), "back": (64, 400), "logits": (400, 784)}


def torch_step(rows, foreach=None):
    import torch
    torch.set_num_threads(1)
    torch.manual_seed(1)
    layers = torch.nn.ModuleDict({name: torch.nn.Linear(n, m) for name, (n, m) in LAYERS.items()})
    optimizer = torch.optim.Adam(layers.parameters(), lr=1e-3, foreach=foreach)
    x = torch.rand(rows, 784)

    def step():
        h = torch.relu(layers["hidden"](x))
        mean, log_scale = layers["mean"](h), layers["log_scale"](h)
        scale = torch.exp(log_scale)
        z = mean + scale * torch.randn_like(mean)
        logits = layers["logits"](torch.relu(layers["back"](z)))
        fit = torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        ratio = mean / scale
        folded = scale * math.sqrt(2 / math.pi) * torch.exp(-0.5 * ratio * ratio) + mean * torch.erf(ratio / math.sqrt(2))
        kl = math.log(2) + folded - 0.5 * math.log(2 * math.pi * math.e) - log_scale
        loss = (fit + kl.sum()) / rows
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def jax_step(rows):
    import jax
    import jax.numpy as jnp
    keys = iter(jax.random.split(jax.random.PRNGKey(1), 16))
    params = {}
    for name, (n, m) in LAYERS.items():
        bound = 1 / math.sqrt(n)
        params[name] = (jax.random.uniform(next(keys), (n, m), minval=-bound, maxval=bound),
                        jax.random.uniform(next(keys), (m,), minval=-bound, maxval=bound))
    x = jax.random.uniform(next(keys), (rows, 784))

    def loss(params, x, key):
        dense = lambda name, v: v @ params[name][0] + params[name][1]
        h = jax.nn.relu(dense("hidden", x))
        mean, log_scale = dense("mean", h), dense("log_scale", h)
        scale = jnp.exp(log_scale)
        z = mean + scale * jax.random.normal(key, mean.shape)
        logits = dense("logits", jax.nn.relu(dense("back", z)))
        fit = jnp.maximum(logits, 0) - logits * x + jnp.log1p(jnp.exp(-jnp.abs(logits)))
        ratio = mean / scale
        folded = scale * math.sqrt(2 / math.pi) * jnp.exp(-0.5 * ratio * ratio) + mean * jax.scipy.special.erf(ratio / math.sqrt(2))
        kl = math.log(2) + folded - 0.5 * math.log(2 * math.pi * math.e) - log_scale
        return (fit.sum() + kl.sum()) / rows

    def update(params, first, second, count, x, seed):
        value, gradient = jax.value_and_grad(loss)(params, x, jax.random.fold_in(seed, count))
        count += 1
        tree = jax.tree_util.tree_map
        first = tree(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = tree(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
        one, two = 1 - 0.9 ** count.astype(jnp.float32), 1 - 0.999 ** count.astype(jnp.float32)
        params = tree(lambda p, m, v: p - 1e-3 * (m / one) / (jnp.sqrt(v / two) + 1e-8), params, first, second)
        return params, first, second, count, value

    compiled = jax.jit(update, donate_argnums=(0, 1, 2))
    zeros = lambda: jax.tree_util.tree_map(jnp.zeros_like, params)
    state = [params, zeros(), zeros(), jnp.zeros((), jnp.int32)]
    seed = jax.random.PRNGKey(2)

    def step():
        *state[:], value = compiled(*state, x, seed)
        return float(value)

    return step


def serve(name, rows):
    """Steps on request. Each ends with the objective read as a number, so that nothing is still under way."""
    began = time.perf_counter()
    if name == "jax":
        step = jax_step(rows)
    else:
        step = torch_step(rows, foreach=True if name.endswith("foreach") else None)
    first = step()
    print("ready %.3f" % (time.perf_counter() - began), flush=True)
    last = first
    for line in sys.stdin:
        if line.startswith("loss"):
            print("%.2f %.2f" % (first, last), flush=True)
            continue
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            last = step()
            times.append(1e3 * (time.perf_counter() - start))
        print(" ".join("%.6f" % t for t in times), flush=True)


class Contender:
    """A program that serves steps, and the times it has told."""

    def __init__(self, label, command, environment=None):
        self.label, self.times = label, []
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS", "XLA", "OMP", "MKL"))}
        cpu = {max(os.sched_getaffinity(0))} if hasattr(os, "sched_getaffinity") else None
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**plain, "OMP_NUM_THREADS": "1", **(environment or {})},
                                        preexec_fn=(lambda: os.sched_setaffinity(0, cpu)) if cpu else None)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(self.label + " ended early")
        return answer.split()

    def await_ready(self):
        return self.process.stdout.readline().startswith("ready")

    def take_turn(self):
        self.times += [float(t) for t in self.ask(str(BURST))[1:]]

    def quantile(self, part):
        return sorted(self.times)[round(part * (len(self.times) - 1))]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def start_peers(interpreters):
    # Debian's OpenBLAS takes CPUs it does not know for a Haswell; "as it starts" leaves it at that.
    kinds = {"torch": [("PyTorch as it starts", "torch", {}),
                       ("PyTorch, OpenBLAS told SkylakeX, foreach Adam", "torch-foreach", {"OPENBLAS_CORETYPE": "SkylakeX"})],
             "jax": [("JAX jit", "jax", {}),
                     ("JAX jit, no Eigen threads", "jax", {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"})]}
    peers = []
    for name, python in interpreters:
        for label, kind, environment in kinds[name]:
            if "SkylakeX" in label and not has_avx512():
                continue
            peer = Contender(label, [python, __file__, "--serve", kind, str(ROWS)], {"JAX_PLATFORMS": "cpu", **environment})
            if peer.await_ready():
                peers.append(peer)
            else:
                print("  %s could not be started and is left out" % label)
    return peers


def has_avx512():
    try:
        with open("/proc/cpuinfo") as file:
            return "avx512vl" in file.read()
    except OSError:
        return False


def compare(bench_step, interpreters):
    ours = Contender("spmc", [bench_step, "--serve", str(ROWS)])
    peers = start_peers(interpreters)
    everyone = [ours] + peers
    for _ in range(3):
        for contender in everyone:
            contender.ask(str(BURST))
    for _ in range(TURNS):
        for contender in everyone:
            contender.take_turn()
    print("training step at batch %d, one thread each, ms (%d steps each, in turns)" % (ROWS, len(ours.times)))
    print("  %-48s%9s%9s%9s%12s%9s" % ("", "median", "fastest", "spread", "x of spmc:", "fastest"))
    for contender in everyone:
        median = contender.quantile(0.5)
        spread = 100 * (contender.quantile(0.75) - contender.quantile(0.25)) / median
        fastest = contender.quantile(0)
        print("  %-48s%9.2f%9.2f%8.0f%%%12.2f%9.2f" % (contender.label, median, fastest, spread, median / ours.quantile(0.5),
                                                      fastest / ours.quantile(0)))
    for peer in peers:
        first, last = peer.ask("loss")
        print("  %s: loss %s at first, %s at last" % (peer.label, first, last))
    print("  (wanted: at least 2 times spmc's for PyTorch as it starts, at least 1 for JAX)")
    for contender in everyone:
        contender.close()


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        compare(sys.argv[1], [argument.split("=", 1) for argument in sys.argv[2:]])
