#!/usr/bin/env python3
"""Columns of a run's metrics by epoch -> an SVG picture.

usage: draw_columns.py RUN OUT.svg LOW HIGH COLUMN [COLUMN ...]
"""
import sys

from read_run import metrics

WIDTH, HEIGHT, EDGE = 640, 360, 50
COLOURS = ["#1b6ca8", "#d1495b", "#2e8b57", "#8c6bb1"]


def main():
    run, out, low, high, columns = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]), sys.argv[5:]
    rows = metrics(run)
    last = max(row["epoch"] for row in rows)

    def x(epoch):
        return EDGE + (WIDTH - 2 * EDGE) * epoch / last

    def y(value):
        share = (min(max(value, low), high) - low) / (high - low)
        return HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * share

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']
    for i in range(5):
        value = low + (high - low) * i / 4
        parts.append(f'<line x1="{EDGE}" x2="{WIDTH - EDGE}" y1="{y(value)}" y2="{y(value)}" stroke="#ddd"/>'
                     f'<text x="{EDGE - 6}" y="{y(value) + 4}" text-anchor="end">{value:g}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">epoch, 1 to {last}</text>')
    for i, column in enumerate(columns):
        points = " ".join(f"{x(row['epoch']):.1f},{y(row[column]):.1f}" for row in rows)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[i % 4]}" stroke-width="2"/>'
                     f'<text x="{WIDTH - EDGE - 150}" y="{HEIGHT - EDGE - 40 + 16 * i}" fill="{COLOURS[i % 4]}">{column}</text>')
    with open(out, "w") as file:
        file.write("\n".join(parts) + "\n</svg>\n")


main()
