/* Pictures: rows of numbers -> PNG files a person can read: montages of tiles, and line charts.
 * Colours are 8-bit RGB; a picture that has no colour in it is written as gray. Same input, same bytes. */
#ifndef SPM_PICTURE_H
#define SPM_PICTURE_H

#include "error.h"

#include <stdbool.h>

struct picture {
  int width, height;
  unsigned char *pixels; /* height x width x 3 */
};

typedef unsigned int picture_colour; /* 0xRRGGBB */

/* A picture of one colour; refuses more than 100 million pixels. 0, or -1 with an error and nothing to free. */
int picture_create(struct picture *picture, int width, int height, picture_colour background, struct spm_error *error);
void picture_free(struct picture *picture);
/* Whole or not at all (files.h). */
int picture_write(const struct picture *picture, const char *path, struct spm_error *error);

/* Drawing; whatever lies outside the picture is dropped. */
void picture_rectangle(struct picture *picture, int x, int y, int width, int height, picture_colour colour);
void picture_blend(struct picture *picture, int x, int y, picture_colour colour, double coverage);
/* ASCII text, `scale` pixels to a dot: capitals are 7 * scale high, and 2 * scale more may hang below. (x, y) is the
 * upper left corner. A character outside ASCII is drawn as a box. */
void picture_text(struct picture *picture, int x, int y, int scale, picture_colour colour, const char *text);
int picture_text_width(int scale, const char *text);

/* --- Montage ------------------------------------------------------------------------------------------------------ */

enum picture_shades {
  PICTURE_RANGE,         /* gray (or RGB) from low = black to high = white */
  PICTURE_SYMMETRIC,     /* blue - white - red about zero, one scale for all tiles of the montage */
  PICTURE_SYMMETRIC_EACH /* the same, each tile by its own largest magnitude */
};

/* One row of tiles, as "original" or "reconstruction". */
struct picture_strip {
  const char *label;  /* to the left of it; NULL: none */
  const float *tiles; /* count x channels x tile_height x tile_width */
};

/* Tiles are laid out `columns` to a line. With several strips each line is a block of them, one above the other:
 * tile i of the first strip stands directly above tile i of the second. NaN is drawn as a hatched pixel. */
struct picture_montage {
  const char *title; /* NULL: none */
  const struct picture_strip *strips;
  int strip_count;
  int count;                             /* tiles in each strip */
  int tile_height, tile_width, channels; /* channels: 1, or 3 (RGB, only with PICTURE_RANGE) */
  int columns;                           /* 0: as it looks best */
  int scale;                             /* pixels to an entry; 0: so that a tile is about 56 pixels wide */
  enum picture_shades shades;
  float low, high; /* of PICTURE_RANGE; both 0: [0, 1] */
};

int picture_montage(struct picture *picture, const struct picture_montage *montage, struct spm_error *error);

/* --- Line chart --------------------------------------------------------------------------------------------------- */

struct picture_series {
  const char *name;
  const double *x, *y; /* a y that is not finite breaks the line; x NULL: 0, 1, 2, ... */
  long count;
  bool dashed; /* for a reference line */
};

struct picture_chart {
  const char *title, *x_label, *y_label; /* each may be NULL */
  const struct picture_series *series;
  int series_count;
  int width, height; /* 0: 1000 x 600 */
  double low, high;  /* of the y axis; both 0: from the data */
};

int picture_chart(struct picture *picture, const struct picture_chart *chart, struct spm_error *error);

#endif
