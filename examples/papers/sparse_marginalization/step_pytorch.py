"""The decoder's side of a top-k step of specs/bit_vector_vae.spm in PyTorch, on one thread, at the same numbers of rows:
forward, backward and Adam of encoder and decoder, all logits in memory. Members and weights are given (their oracle
costs next to nothing). Prints processor seconds a step.

    python3 examples/papers/sparse_marginalization/step_pytorch.py ROWS [STEPS]     ROWS: decoder rows of a step of 64
"""
import sys
import time

import torch

rows, steps = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5
torch.set_num_threads(1)
torch.manual_seed(0)
encoder = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 32))
decoder = torch.nn.Sequential(torch.nn.Linear(32, 128), torch.nn.ReLU(), torch.nn.Linear(128, 784 * 5))
logits = torch.nn.Linear(5, 256)
optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters(), *logits.parameters()], lr=2e-3)
pixels = torch.randint(0, 256, (64, 784))
datum = torch.arange(rows) % 64
members = torch.randint(0, 2, (rows, 32)).float()


def step():
    optimizer.zero_grad()
    scores = (encoder(pixels.float() / 255)[datum] * members).sum(1)
    weights = torch.softmax(scores.view(-1), 0) * 64
    out = logits(decoder(members).view(rows * 784, 5))
    nll = torch.nn.functional.cross_entropy(out, pixels[datum].reshape(-1), reduction="none").view(rows, 784).sum(1)
    ((weights * nll).sum() / 64).backward()
    optimizer.step()


step()
start = time.process_time()
for _ in range(steps):
    step()
print(f"{rows} rows: {(time.process_time() - start) / steps:.4f} s a step")
