/* Line charts: several series of numbers -> axes with ticks, a legend and smooth lines. */
#include "picture.h"
#include "words.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const picture_colour paper = 0xFFFFFF, ink = 0x222222, axis_colour = 0x666666, grid = 0xE4E4E4;

/* Okabe and Ito's colours, told apart by colour-blind readers too; their yellow is too pale for lines on white. */
static const picture_colour palette[] = {0x0072B2, 0xD55E00, 0x009E73, 0xCC79A7,
                                         0xE69F00, 0x56B4E9, 0x222222, 0x8C6D31};

enum { MARGIN = 22, TEXT = 2, CAPITAL = 7 * TEXT, LINE = 12 * TEXT, SAMPLE = 34, MOST_TICKS = 24 };

struct axis {
  double low, high; /* the range shown */
  double step;      /* between ticks */
  int from, to;     /* pixels of low and high */
};

struct plot {
  struct picture *picture;
  const struct picture_chart *chart;
  struct axis x, y;
  unsigned char *mask; /* coverage of one series, so that its joints are not painted twice */
  int left, top, right, bottom;
};

/* A point that cannot be drawn breaks its line. Beyond 1e300 the difference of two values may overflow. */
static bool drawable(double x, double y) { return fabs(x) < 1e300 && fabs(y) < 1e300; }

static double x_of(const struct picture_series *series, long i) { return series->x ? series->x[i] : (double)i; }

static double to_pixel(const struct axis *axis, double value) {
  return axis->from + (value - axis->low) / (axis->high - axis->low) * (axis->to - axis->from);
}

/* The smallest of 1, 2, 5 times a power of ten that cuts the range into at most `most` pieces. */
static double nice_step(double range, int most) {
  double power = pow(10, floor(log10(range / most)));
  const double factors[] = {1, 2, 5, 10};
  for (int i = 0; i < 4; i++)
    if (range <= factors[i] * power * most * (1 + 1e-9)) return factors[i] * power;
  return 10 * power;
}

/* Range of one coordinate over all points that can be drawn; [0, 1] without any. */
static void data_range(const struct picture_chart *chart, bool vertical, double *low, double *high, bool *whole) {
  *low = INFINITY;
  *high = -(double)INFINITY;
  *whole = true;
  for (int s = 0; s < chart->series_count; s++)
    for (long i = 0; i < chart->series[s].count; i++) {
      double x = x_of(&chart->series[s], i), y = chart->series[s].y[i], value = vertical ? y : x;
      if (!drawable(x, y)) continue;
      if (value < *low) *low = value;
      if (value > *high) *high = value;
      if (value != floor(value)) *whole = false;
    }
  if (*low > *high) {
    *low = 0;
    *high = 1;
  }
}

static void set_axis(struct axis *axis, double low, double high, bool whole, int most, double padding) {
  double size = fmax(fabs(low), fabs(high)), room = (high - low) * padding;
  if (size < 1e-290)
    room = 1; /* nothing but zeros */
  else if (high - low <= size * 1e-9)
    room = whole ? fmax(1, size * 0.1) : size * 0.1; /* one value: room around it */
  low -= room;
  high += room;
  axis->low = low;
  axis->high = high;
  axis->step = nice_step(high - low, most);
  if (whole && axis->step < 1) axis->step = 1; /* there is no epoch 2.5 */
}

static void tick_label(const struct axis *axis, double value, char *out, size_t size) {
  if (fabs(value) < axis->step * 1e-6) value = 0;
  int decimals = (int)ceil(-log10(axis->step) - 1e-9);
  if (fmax(fabs(axis->low), fabs(axis->high)) >= 1e8 || decimals > 6)
    snprintf(out, size, "%.3g", value);
  else if (decimals <= 0)
    snprintf(out, size, "%s", spm_count(llround(value)).text);
  else
    snprintf(out, size, "%.*f", decimals, value);
}

/* The first tick and how many there are. */
static int ticks(const struct axis *axis, double *first) {
  double start = ceil(axis->low / axis->step - 1e-9), end = floor(axis->high / axis->step + 1e-9);
  *first = start * axis->step;
  int count = end >= start ? (int)(end - start) + 1 : 0;
  return count < MOST_TICKS ? count : MOST_TICKS;
}

static int widest_label(const struct axis *axis) {
  double first;
  char label[96];
  int widest = 0, count = ticks(axis, &first);
  for (int i = 0; i < count; i++) {
    tick_label(axis, first + i * axis->step, label, sizeof label);
    int width = picture_text_width(TEXT, label);
    if (width > widest) widest = width;
  }
  return widest;
}

/* Places (or, with draw, paints) the legend in as many lines as it needs; returns how many. */
static int legend(struct picture *picture, const struct picture_chart *chart, int left, int right, int top, bool draw) {
  int x = left, line = 0;
  for (int s = 0; s < chart->series_count; s++) {
    const char *name = chart->series[s].name ? chart->series[s].name : "";
    int width = SAMPLE + 8 + picture_text_width(TEXT, name);
    if (x > left && x + width > right) {
      x = left;
      line++;
    }
    if (draw) {
      picture_colour colour = palette[(size_t)s % (sizeof palette / sizeof *palette)];
      int y = top + line * LINE, middle = y + CAPITAL / 2;
      for (int i = 0; i < SAMPLE; i++)
        if (!chart->series[s].dashed || i % 13 < 8) picture_rectangle(picture, x + i, middle - 1, 1, 3, colour);
      picture_text(picture, x + SAMPLE + 8, y, TEXT, ink, name);
    }
    x += width + 26;
  }
  return chart->series_count > 0 ? line + 1 : 0;
}

static void cover(struct plot *plot, int x, int y, double coverage) {
  if (coverage <= 0) return;
  unsigned char *mask =
      &plot->mask[(size_t)(y - plot->top) * (size_t)(plot->right - plot->left) + (size_t)(x - plot->left)];
  unsigned char level = (unsigned char)((coverage < 1 ? coverage : 1) * 255);
  if (level > *mask) *mask = level;
}

static int clamp(double value, int low, int high) { return value < low ? low : value > high ? high : (int)value; }

/* A thick segment with round ends: each pixel is covered by how near it lies. `run` is the length of line before it,
 * for the dashes. */
static void segment(struct plot *plot, const double from[2], const double to[2], double radius, double run,
                    bool dashed) {
  double dx = to[0] - from[0], dy = to[1] - from[1], squared = dx * dx + dy * dy, length = sqrt(squared);
  double reach = radius + 1;
  int left = clamp(fmin(from[0], to[0]) - reach, plot->left, plot->right);
  int right = clamp(fmax(from[0], to[0]) + reach + 1, plot->left, plot->right);
  int top = clamp(fmin(from[1], to[1]) - reach, plot->top, plot->bottom);
  int bottom = clamp(fmax(from[1], to[1]) + reach + 1, plot->top, plot->bottom);
  for (int y = top; y < bottom; y++)
    for (int x = left; x < right; x++) {
      double px = x + 0.5 - from[0], py = y + 0.5 - from[1];
      double along = squared > 0 ? (px * dx + py * dy) / squared : 0;
      along = along < 0 ? 0 : along > 1 ? 1 : along;
      if (dashed && fmod(run + along * length, 13) >= 8) continue;
      double ex = px - along * dx, ey = py - along * dy;
      cover(plot, x, y, radius + 0.5 - sqrt(ex * ex + ey * ey));
    }
}

static void draw_series(struct plot *plot, const struct picture_series *series, picture_colour colour) {
  int width = plot->right - plot->left, height = plot->bottom - plot->top;
  double last[2] = {0, 0}, run = 0;
  double radius = series->dashed ? 1.0 : series->count > 400 ? 0.8 : 1.4; /* dense, noisy lines stay legible */
  bool joined = false, few = series->count <= 40 && !series->dashed;
  memset(plot->mask, 0, (size_t)width * (size_t)height);
  for (long i = 0; i < series->count; i++) {
    double x = x_of(series, i), y = series->y[i];
    if (!drawable(x, y)) {
      joined = false;
      continue;
    }
    double here[2] = {to_pixel(&plot->x, x), to_pixel(&plot->y, y)};
    if (joined) {
      segment(plot, last, here, radius, run, series->dashed);
      run += hypot(here[0] - last[0], here[1] - last[1]);
    }
    bool alone = !joined && (i + 1 == series->count || !drawable(0, series->y[i + 1]));
    if (few || alone) segment(plot, here, here, 3.2, 0, false);
    memcpy(last, here, sizeof last);
    joined = true;
  }
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++)
      picture_blend(plot->picture, plot->left + x, plot->top + y, colour, plot->mask[y * width + x] / 255.0);
}

static void draw_axes(struct plot *plot) {
  struct picture *picture = plot->picture;
  double first;
  char label[96];
  int count = ticks(&plot->y, &first);
  for (int i = 0; i < count; i++) {
    int y = (int)lround(to_pixel(&plot->y, first + i * plot->y.step));
    tick_label(&plot->y, first + i * plot->y.step, label, sizeof label);
    picture_rectangle(picture, plot->left, y, plot->right - plot->left, 1, grid);
    picture_rectangle(picture, plot->left - 6, y, 6, 1, axis_colour);
    picture_text(picture, plot->left - 12 - picture_text_width(TEXT, label), y - CAPITAL / 2, TEXT, ink, label);
  }
  count = ticks(&plot->x, &first);
  for (int i = 0; i < count; i++) {
    int x = (int)lround(to_pixel(&plot->x, first + i * plot->x.step));
    tick_label(&plot->x, first + i * plot->x.step, label, sizeof label);
    picture_rectangle(picture, x, plot->top, 1, plot->bottom - plot->top, grid);
    picture_rectangle(picture, x, plot->bottom, 1, 7, axis_colour);
    picture_text(picture, x - picture_text_width(TEXT, label) / 2, plot->bottom + 12, TEXT, ink, label);
  }
  picture_rectangle(picture, plot->left - 1, plot->top, 1, plot->bottom - plot->top + 1, axis_colour);
  picture_rectangle(picture, plot->left - 1, plot->bottom, plot->right - plot->left + 1, 1, axis_colour);
}

/* Ranges first, then the room that their labels need, then the pixels. */
static void lay_out(struct plot *plot) {
  const struct picture_chart *chart = plot->chart;
  double low, high;
  bool whole;
  data_range(chart, true, &low, &high, &whole);
  if (chart->low != 0 || chart->high != 0)
    set_axis(&plot->y, chart->low, chart->high, false, 6, 0);
  else
    set_axis(&plot->y, low, high, false, 6, 0.05);
  data_range(chart, false, &low, &high, &whole);
  set_axis(&plot->x, low, high, whole, 8, 0.015);
  plot->left = MARGIN + widest_label(&plot->y) + 14;
  plot->right = plot->picture->width - MARGIN - widest_label(&plot->x) / 2;
  plot->top = MARGIN + (chart->title ? LINE + 6 : 0);
  plot->top += legend(plot->picture, chart, plot->left, plot->right, 0, false) * LINE + (chart->y_label ? LINE : 6);
  plot->bottom = plot->picture->height - MARGIN - CAPITAL - 12 - (chart->x_label ? LINE : 0);
  plot->x.from = plot->left;
  plot->x.to = plot->right - 1;
  plot->y.from = plot->bottom - 1;
  plot->y.to = plot->top;
}

static void draw_words(struct plot *plot) {
  const struct picture_chart *chart = plot->chart;
  int y = MARGIN;
  if (chart->title) {
    picture_text(plot->picture, plot->left, y, TEXT, 0x000000, chart->title);
    picture_text(plot->picture, plot->left + 1, y, TEXT, 0x000000, chart->title); /* twice: bold */
    y += LINE + 6;
  }
  y += legend(plot->picture, chart, plot->left, plot->right, y, true) * LINE;
  if (chart->y_label) picture_text(plot->picture, MARGIN, y, TEXT, axis_colour, chart->y_label);
  if (chart->x_label)
    picture_text(plot->picture, (plot->left + plot->right - picture_text_width(TEXT, chart->x_label)) / 2,
                 plot->bottom + 12 + LINE, TEXT, axis_colour, chart->x_label);
}

int picture_chart(struct picture *picture, const struct picture_chart *chart, struct spm_error *error) {
  struct plot plot = {.picture = picture, .chart = chart};
  memset(picture, 0, sizeof *picture);
  if ((chart->low != 0 || chart->high != 0) && !(chart->low < chart->high))
    return spm_fail(error, "chart: the range of the y axis is empty");
  int width = chart->width > 0 ? chart->width : 1000, height = chart->height > 0 ? chart->height : 600;
  if (picture_create(picture, width, height, paper, error) != 0) return -1;
  lay_out(&plot);
  if (plot.right - plot.left < 50 || plot.bottom - plot.top < 50) {
    picture_free(picture);
    return spm_fail(error, "chart: %d x %d pixels leave no room for the lines", width, height);
  }
  plot.mask = malloc((size_t)(plot.right - plot.left) * (size_t)(plot.bottom - plot.top));
  if (!plot.mask) {
    picture_free(picture);
    return spm_fail_system(error, "chart", "draw", ENOMEM);
  }
  draw_axes(&plot);
  for (int s = 0; s < chart->series_count; s++)
    draw_series(&plot, &chart->series[s], palette[(size_t)s % (sizeof palette / sizeof *palette)]);
  draw_words(&plot);
  free(plot.mask);
  return 0;
}
