/* Pictures: pixels, text and PNG. Drawing calls -> an RGB raster -> a PNG file. Montages are in montage.c, charts in
 * chart.c. */
#include "picture.h"
#include "files.h"
#include "font.h"
#include "words.h"

#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

int picture_create(struct picture *picture, int width, int height, picture_colour background, struct spm_error *error) {
  memset(picture, 0, sizeof *picture);
  if (width < 1 || height < 1 || width > 100000000 / height)
    return spm_fail(error, "picture: cannot draw %s x %s pixels", spm_count(width).text, spm_count(height).text);
  picture->pixels = malloc((size_t)width * (size_t)height * 3);
  if (!picture->pixels) return spm_fail_system(error, "picture", "draw", ENOMEM);
  picture->width = width;
  picture->height = height;
  picture_rectangle(picture, 0, 0, width, height, background);
  return 0;
}

void picture_free(struct picture *picture) {
  free(picture->pixels);
  memset(picture, 0, sizeof *picture);
}

static unsigned char *pixel_at(struct picture *picture, int x, int y) {
  return picture->pixels + ((size_t)y * (size_t)picture->width + (size_t)x) * 3;
}

void picture_rectangle(struct picture *picture, int x, int y, int width, int height, picture_colour colour) {
  int left = x < 0 ? 0 : x, right = x + width < picture->width ? x + width : picture->width;
  int top = y < 0 ? 0 : y, bottom = y + height < picture->height ? y + height : picture->height;
  for (int row = top; row < bottom; row++)
    for (int column = left; column < right; column++) {
      unsigned char *pixel = pixel_at(picture, column, row);
      pixel[0] = (unsigned char)(colour >> 16);
      pixel[1] = (unsigned char)(colour >> 8);
      pixel[2] = (unsigned char)colour;
    }
}

void picture_blend(struct picture *picture, int x, int y, picture_colour colour, double coverage) {
  if (x < 0 || y < 0 || x >= picture->width || y >= picture->height || !(coverage > 0)) return;
  unsigned char *pixel = pixel_at(picture, x, y);
  for (int c = 0; c < 3; c++) {
    int paint = (int)(colour >> (16 - 8 * c) & 255);
    pixel[c] = (unsigned char)(pixel[c] + (paint - pixel[c]) * (coverage < 1 ? coverage : 1) + 0.5);
  }
}

/* What a byte looks like and where its ink begins and ends. Digits keep the full width, so that numbers line up. */
static const unsigned char *glyph_of(unsigned char character, int *left, int *width) {
  static const unsigned char box[FONT_ROWS] = {0x1F, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1F, 0, 0};
  const unsigned char *glyph = character >= FONT_FIRST && character <= FONT_LAST ? font[character - FONT_FIRST] : box;
  unsigned ink = 0;
  for (int row = 0; row < FONT_ROWS; row++) ink |= glyph[row];
  *left = 0;
  *width = ink ? FONT_WIDTH : 2;
  if (!ink || (character >= '0' && character <= '9')) return glyph;
  while (!(ink >> (FONT_WIDTH - 1 - *left) & 1)) ++*left;
  *width = FONT_WIDTH - *left;
  while (!(ink & 1)) {
    ink >>= 1;
    --*width;
  }
  return glyph;
}

/* One box stands for a whole UTF-8 character. */
static bool continues_character(unsigned char byte) { return (byte & 0xC0) == 0x80; }

void picture_text(struct picture *picture, int x, int y, int scale, picture_colour colour, const char *text) {
  for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
    int left, width;
    if (continues_character(*at)) continue;
    const unsigned char *glyph = glyph_of(*at, &left, &width);
    for (int row = 0; row < FONT_ROWS; row++)
      for (int column = 0; column < width; column++)
        if (glyph[row] >> (FONT_WIDTH - 1 - left - column) & 1)
          picture_rectangle(picture, x + column * scale, y + row * scale, scale, scale, colour);
    x += (width + 1) * scale;
  }
}

int picture_text_width(int scale, const char *text) {
  int total = 0;
  for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
    int left, width;
    if (continues_character(*at)) continue;
    (void)glyph_of(*at, &left, &width);
    total += (width + 1) * scale;
  }
  return total > 0 ? total - scale : 0;
}

static bool is_gray(const struct picture *picture) {
  size_t count = (size_t)picture->width * (size_t)picture->height;
  for (const unsigned char *at = picture->pixels; count-- > 0; at += 3)
    if (at[0] != at[1] || at[1] != at[2]) return false;
  return true;
}

/* libpng would print to stderr; its words go into our error instead. */
static void on_png_error(png_structp png, png_const_charp words) {
  spm_fail(png_get_error_ptr(png), "picture: %s", words);
  longjmp(png_jmpbuf(png), 1);
}

static void on_png_warning(png_structp png, png_const_charp words) {
  (void)png;
  (void)words;
}

/* `line` has room for one row; nothing is allocated here that a longjmp could lose. */
static int encode(png_structp png, png_infop info, const struct picture *picture, FILE *stream, unsigned char *line,
                  bool gray) {
  if (setjmp(png_jmpbuf(png))) return -1;
  png_init_io(png, stream);
  png_set_IHDR(png, info, (png_uint_32)picture->width, (png_uint_32)picture->height, 8,
               gray ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_write_info(png, info);
  for (int y = 0; y < picture->height; y++) {
    const unsigned char *from = picture->pixels + (size_t)y * (size_t)picture->width * 3;
    for (int x = 0; x < picture->width; x++) {
      if (gray)
        line[x] = from[3 * x];
      else
        memcpy(line + 3 * x, from + 3 * x, 3);
    }
    png_write_row(png, line);
  }
  png_write_end(png, info);
  return 0;
}

int picture_write(const struct picture *picture, const char *path, struct spm_error *error) {
  struct spm_writer writer;
  struct spm_error ignored;
  if (spm_writer_open(&writer, path, error) != 0) return -1;
  unsigned char *line = malloc((size_t)picture->width * 3);
  png_structp png =
      png_create_write_struct(PNG_LIBPNG_VER_STRING, error ? error : &ignored, on_png_error, on_png_warning);
  png_infop info = png ? png_create_info_struct(png) : NULL;
  int status = -1;
  if (line && info)
    status = encode(png, info, picture, writer.stream, line, is_gray(picture));
  else
    spm_fail_system(error, path, "write", ENOMEM);
  png_destroy_write_struct(&png, &info);
  free(line);
  /* A full disk is noticed by libpng as "Write Error"; committing anyway would find the better words. */
  if (status == 0 || ferror(writer.stream)) return spm_writer_commit(&writer, error);
  spm_writer_abandon(&writer);
  return status;
}
