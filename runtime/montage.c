/* Montages: strips of small images in float -> one picture, with separators, labels and, for signed values, a colour
 * bar. */
#include "picture.h"
#include "words.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const picture_colour paper = 0xFFFFFF, ink = 0x222222, frame = 0xC4C4C4;

enum {
  MARGIN = 20,
  GAP = 4,
  BLOCK_GAP = 20,
  LABEL_GAP = 14,
  TEXT = 2,
  TEXT_HEIGHT = 9 * TEXT,
  BAR_WIDTH = 180,
  BAR_HEIGHT = 12
};

struct layout {
  int columns, lines, scale;
  int tile_width, tile_height; /* on the picture, with a frame of one pixel around */
  int left, top;               /* of the first tile's frame */
  int block_height;            /* from one line of tiles to the next */
  int bar_top;                 /* 0: no bar */
  int width, height;
};

/* Blue below zero, white at zero, red above; darker towards the ends so that print in gray still shows the size. */
static picture_colour diverging(double value) {
  static const double stops[5][3] = {{5, 48, 97}, {67, 147, 195}, {255, 255, 255}, {214, 96, 77}, {103, 0, 31}};
  double place = (value < -1 ? 0 : value > 1 ? 2 : value + 1) * 2;
  int stop = place >= 4 ? 3 : (int)place;
  picture_colour colour = 0;
  for (int c = 0; c < 3; c++) {
    double mixed = stops[stop][c] + (stops[stop + 1][c] - stops[stop][c]) * (place - stop);
    colour = colour << 8 | (picture_colour)(mixed + 0.5);
  }
  return colour;
}

static unsigned gray_level(const struct picture_montage *montage, float value) {
  float low = montage->low, high = montage->high;
  if (low == 0 && high == 0) high = 1;
  float place = (value - low) / (high - low);
  return place >= 1 ? 255 : place > 0 ? (unsigned)(place * 255 + 0.5f) : 0;
}

static float largest_magnitude(const float *values, size_t count) {
  float largest = 0;
  for (size_t i = 0; i < count; i++)
    if (isfinite(values[i]) && fabsf(values[i]) > largest) largest = fabsf(values[i]);
  return largest;
}

static void draw_hatched(struct picture *picture, int x, int y, int scale) {
  for (int j = 0; j < scale; j++)
    for (int i = 0; i < scale; i++)
      picture_rectangle(picture, x + i, y + j, 1, 1, (x + i + y + j) % 4 < 2 ? 0xB0A030 : 0xE8E0A0);
}

static void draw_tile(struct picture *picture, const struct picture_montage *montage, const struct layout *layout,
                      const float *tile, int x, int y, float limit) {
  size_t plane = (size_t)montage->tile_height * (size_t)montage->tile_width;
  picture_rectangle(picture, x, y, layout->tile_width, layout->tile_height, frame);
  if (montage->shades == PICTURE_SYMMETRIC_EACH) limit = largest_magnitude(tile, plane);
  for (int row = 0; row < montage->tile_height; row++)
    for (int column = 0; column < montage->tile_width; column++) {
      size_t place = (size_t)row * (size_t)montage->tile_width + (size_t)column;
      int left = x + 1 + column * layout->scale, top = y + 1 + row * layout->scale;
      picture_colour colour = 0;
      bool missing = false;
      for (int c = 0; c < 3; c++) {
        float value = tile[montage->channels == 3 ? (size_t)c * plane + place : place];
        if (isnan(value))
          missing = true;
        else if (montage->shades == PICTURE_RANGE)
          colour = colour << 8 | gray_level(montage, value);
        else
          colour = diverging(limit > 0 ? (double)value / (double)limit : 0);
      }
      if (missing)
        draw_hatched(picture, left, top, layout->scale);
      else
        picture_rectangle(picture, left, top, layout->scale, layout->scale, colour);
    }
}

/* The whole line is about 1,000 pixels wide at most where the caller left it open. */
static int choose_columns(const struct picture_montage *montage, int tile_width) {
  if (montage->columns > 0) return montage->columns < montage->count ? montage->columns : montage->count;
  int fit = 1000 / (tile_width + GAP), square = (int)ceil(sqrt((double)montage->count * montage->strip_count));
  int columns = montage->strip_count > 1 ? fit : square < fit ? square : fit;
  if (columns > montage->count) columns = montage->count;
  return columns > 0 ? columns : 1;
}

static struct layout lay_out(const struct picture_montage *montage) {
  struct layout layout = {.scale = montage->scale};
  int side = montage->tile_width > montage->tile_height ? montage->tile_width : montage->tile_height;
  if (layout.scale <= 0) layout.scale = side >= 56 ? 1 : (56 + side / 2) / side;
  layout.tile_width = montage->tile_width * layout.scale + 2;
  layout.tile_height = montage->tile_height * layout.scale + 2;
  layout.columns = choose_columns(montage, layout.tile_width);
  layout.lines = (montage->count + layout.columns - 1) / layout.columns;
  int labels = 0;
  for (int s = 0; s < montage->strip_count; s++) {
    int width = montage->strips[s].label ? picture_text_width(TEXT, montage->strips[s].label) + LABEL_GAP : 0;
    if (width > labels) labels = width;
  }
  layout.left = MARGIN + labels;
  layout.top = MARGIN + (montage->title ? TEXT_HEIGHT + 10 : 0);
  layout.block_height =
      montage->strip_count * (layout.tile_height + GAP) + (montage->strip_count > 1 ? BLOCK_GAP - GAP : 0);
  int bottom = layout.top + layout.lines * layout.block_height - (montage->strip_count > 1 ? BLOCK_GAP : GAP);
  layout.width = layout.left + layout.columns * (layout.tile_width + GAP) - GAP + MARGIN;
  if (montage->shades != PICTURE_RANGE) {
    layout.bar_top = bottom + 18;
    bottom = layout.bar_top + BAR_HEIGHT + 8 + TEXT_HEIGHT;
    if (layout.width < BAR_WIDTH + 2 * MARGIN + 80) layout.width = BAR_WIDTH + 2 * MARGIN + 80;
  }
  int title = montage->title ? picture_text_width(TEXT, montage->title) + 2 * MARGIN : 0;
  if (layout.width < title) layout.width = title;
  layout.height = bottom + MARGIN;
  return layout;
}

static void draw_bar(struct picture *picture, const struct picture_montage *montage, const struct layout *layout,
                     float limit) {
  struct spm_words size = spm_number_short((double)limit);
  char low[80], high[80];
  bool each = montage->shades == PICTURE_SYMMETRIC_EACH;
  int x = MARGIN + 40, y = layout->bar_top, below = y + BAR_HEIGHT + 8;
  picture_rectangle(picture, x - 1, y - 1, BAR_WIDTH + 2, BAR_HEIGHT + 2, frame);
  for (int i = 0; i < BAR_WIDTH; i++)
    picture_rectangle(picture, x + i, y, 1, BAR_HEIGHT, diverging(2.0 * i / (BAR_WIDTH - 1) - 1));
  for (int i = 0; i < 3; i++) picture_rectangle(picture, x + i * (BAR_WIDTH - 2) / 2, y + BAR_HEIGHT + 1, 2, 4, ink);
  snprintf(low, sizeof low, "-%s", each ? "max" : size.text);
  snprintf(high, sizeof high, "%s", each ? "max" : size.text);
  picture_text(picture, x - picture_text_width(TEXT, low) / 2, below, TEXT, ink, low);
  picture_text(picture, x + BAR_WIDTH / 2 - picture_text_width(TEXT, "0") / 2, below, TEXT, ink, "0");
  picture_text(picture, x + BAR_WIDTH - picture_text_width(TEXT, high) / 2, below, TEXT, ink, high);
}

static int check_request(const struct picture_montage *montage, struct spm_error *error) {
  if (montage->strip_count < 1 || montage->count < 1) return spm_fail(error, "montage: there are no tiles to draw");
  if (montage->tile_height < 1 || montage->tile_width < 1 || montage->tile_height > 10000 ||
      montage->tile_width > 10000)
    return spm_fail(error, "montage: tiles of %d x %d cannot be drawn", montage->tile_height, montage->tile_width);
  if (montage->scale > 100 || montage->count > 1000000 || montage->strip_count > 1000)
    return spm_fail(error, "montage: the scale or the number of tiles is too large");
  if (montage->channels != 1 && (montage->channels != 3 || montage->shades != PICTURE_RANGE))
    return spm_fail(error, "montage: tiles have one channel, or three with a range from black to white");
  if (montage->shades == PICTURE_RANGE && !(montage->low < montage->high) && !(montage->low == 0 && montage->high == 0))
    return spm_fail(error, "montage: the range from %s to %s is empty", spm_number_short((double)montage->low).text,
                    spm_number_short((double)montage->high).text);
  return 0;
}

/* Too many tiles for an int of pixels is found here, in long long, before anything is drawn. */
static int check_size(const struct picture_montage *montage, struct spm_error *error) {
  long long side = (long long)(montage->scale > 0 ? montage->scale : 1);
  long long area = side * montage->tile_width * side * montage->tile_height * montage->count * montage->strip_count;
  long long width = (side * montage->tile_width + 60) * (montage->columns > 0 ? montage->columns : 1);
  if (area <= 100000000 && width <= 1000000) return 0;
  return spm_fail(error, "montage: %s tiles of %d x %d make too large a picture", spm_count(montage->count).text,
                  montage->tile_height, montage->tile_width);
}

int picture_montage(struct picture *picture, const struct picture_montage *montage, struct spm_error *error) {
  memset(picture, 0, sizeof *picture);
  if (check_request(montage, error) != 0 || check_size(montage, error) != 0) return -1;
  struct layout layout = lay_out(montage);
  if (picture_create(picture, layout.width, layout.height, paper, error) != 0) return -1;
  size_t tile = (size_t)montage->channels * (size_t)montage->tile_height * (size_t)montage->tile_width;
  float limit = 0;
  for (int s = 0; s < montage->strip_count; s++) {
    float largest = largest_magnitude(montage->strips[s].tiles, tile * (size_t)montage->count);
    if (largest > limit) limit = largest;
  }
  if (montage->title) picture_text(picture, MARGIN, MARGIN, TEXT, ink, montage->title);
  for (int line = 0; line < layout.lines; line++)
    for (int s = 0; s < montage->strip_count; s++) {
      const struct picture_strip *strip = &montage->strips[s];
      int y = layout.top + line * layout.block_height + s * (layout.tile_height + GAP);
      int first = line * layout.columns;
      if (strip->label)
        picture_text(picture, layout.left - LABEL_GAP - picture_text_width(TEXT, strip->label),
                     y + (layout.tile_height - 7 * TEXT) / 2, TEXT, ink, strip->label);
      for (int i = 0; i < layout.columns && first + i < montage->count; i++)
        draw_tile(picture, montage, &layout, strip->tiles + tile * (size_t)(first + i),
                  layout.left + i * (layout.tile_width + GAP), y, limit);
    }
  if (layout.bar_top) draw_bar(picture, montage, &layout, limit);
  return 0;
}
