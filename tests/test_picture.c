/* Pictures: PNGs that libpng reads back pixel for pixel, montages whose tiles stand where they should, charts that
 * survive any numbers. How they look is for eyes; these tests hold the rest. */
#include "picture.h"
#include "scratch.h"

#include <criterion/criterion.h>
#include <math.h>
#include <png.h>

TestSuite(picture, .init = scratch_make, .fini = scratch_remove);

static struct picture picture;
static struct spm_error error;

static unsigned at(const struct picture *p, int x, int y) {
  const unsigned char *pixel = p->pixels + ((size_t)y * (size_t)p->width + (size_t)x) * 3;
  return (unsigned)pixel[0] << 16 | (unsigned)pixel[1] << 8 | pixel[2];
}

static long count_colour(const struct picture *p, unsigned colour) {
  long count = 0;
  for (int y = 0; y < p->height; y++)
    for (int x = 0; x < p->width; x++) count += at(p, x, y) == colour;
  return count;
}

/* Writes, reads back through libpng as RGB, and compares every pixel. */
static void expect_round_trip(unsigned format) {
  const char *path = scratch_path("a.png");
  cr_assert(picture_write(&picture, path, &error) == 0, "%s", error.message);
  png_image image = {.version = PNG_IMAGE_VERSION};
  cr_assert(png_image_begin_read_from_file(&image, path) != 0, "%s", image.message);
  cr_assert(image.format == format, "stored as format %u", image.format);
  cr_assert((int)image.width == picture.width && (int)image.height == picture.height);
  image.format = PNG_FORMAT_RGB;
  unsigned char *pixels = malloc(PNG_IMAGE_SIZE(image));
  cr_assert(png_image_finish_read(&image, NULL, pixels, 0, NULL) != 0, "%s", image.message);
  cr_assert(memcmp(pixels, picture.pixels, PNG_IMAGE_SIZE(image)) == 0);
  cr_assert(scratch_count() == 1, "a temporary was left");
  free(pixels);
}

Test(picture, png_round_trip_in_gray_and_colour) {
  cr_assert(picture_create(&picture, 37, 11, 0x808080, &error) == 0);
  picture_rectangle(&picture, 3, 3, 5, 5, 0x000000);
  expect_round_trip(PNG_FORMAT_GRAY);
  picture_rectangle(&picture, -5, -5, 8, 8, 0x123456); /* clipped */
  picture_rectangle(&picture, 30, 9, 100, 100, 0xFF0000);
  expect_round_trip(PNG_FORMAT_RGB);
  cr_assert(at(&picture, 0, 0) == 0x123456 && at(&picture, 36, 10) == 0xFF0000 && at(&picture, 3, 3) == 0);
  picture_free(&picture);
  picture_free(&picture);
}

Test(picture, text_is_drawn_and_measured) {
  cr_assert(picture_create(&picture, 200, 30, 0xFFFFFF, &error) == 0);
  picture_text(&picture, 0, 0, 1, 0, "l"); /* 0C 04 04 04 04 04 0E: ten dots */
  cr_assert(count_colour(&picture, 0) == 10, "%ld dots", count_colour(&picture, 0));
  picture_text(&picture, 195, 25, 3, 0, "clipped at the edge");
  picture_text(&picture, 0, 15, 1, 0, "\xC3\xA9\x01\xFF"); /* boxes */
  cr_assert(picture_text_width(1, "") == 0);
  cr_assert(picture_text_width(2, "00") == 2 * picture_text_width(1, "00"));
  cr_assert(picture_text_width(1, "11") == picture_text_width(1, "88"), "digits have one width");
  cr_assert(picture_text_width(1, "\xC3\xA9") == 5, "one box for one character");
  picture_free(&picture);
}

Test(picture, montage_places_its_tiles) {
  const float tiles[] = {0, 0.5f, 1, 2 /* above high: white */, 1, 1, 1, 1};
  struct picture_strip strips[] = {{NULL, tiles}};
  struct picture_montage montage = {.strips = strips,
                                    .strip_count = 1,
                                    .count = 2,
                                    .tile_height = 2,
                                    .tile_width = 2,
                                    .channels = 1,
                                    .columns = 2,
                                    .scale = 3};
  cr_assert(picture_montage(&picture, &montage, &error) == 0, "%s", error.message);
  cr_assert(at(&picture, 20, 20) == 0xC4C4C4, "the frame");
  cr_assert(at(&picture, 21, 21) == 0x000000 && at(&picture, 23, 23) == 0x000000);
  cr_assert(at(&picture, 24, 21) == 0x808080);
  cr_assert(at(&picture, 21, 24) == 0xFFFFFF && at(&picture, 26, 26) == 0xFFFFFF);
  cr_assert(picture.width == 20 + 8 + 4 + 8 + 20 && picture.height == 48, "%d x %d", picture.width, picture.height);
  picture_free(&picture);
}

Test(picture, montage_is_symmetric_about_zero) {
  const float tiles[] = {-2, 0, 1, NAN, 1, 0, -0.5f, INFINITY};
  struct picture_strip strips[] = {{"dictionary", tiles}};
  struct picture_montage montage = {.title = "columns",
                                    .strips = strips,
                                    .strip_count = 1,
                                    .count = 2,
                                    .tile_height = 1,
                                    .tile_width = 4,
                                    .channels = 1,
                                    .scale = 4,
                                    .shades = PICTURE_SYMMETRIC};
  cr_assert(picture_montage(&picture, &montage, &error) == 0, "%s", error.message);
  cr_assert(count_colour(&picture, 0x053061) >= 16, "-2 is the darkest blue");
  cr_assert(count_colour(&picture, 0xB0A030) == 8, "half of a missing pixel is hatched");
  cr_assert(count_colour(&picture, 0xD6604D) >= 16, "1 of 2 is half red");
  picture_free(&picture);
  montage.shades = PICTURE_SYMMETRIC_EACH;
  cr_assert(picture_montage(&picture, &montage, &error) == 0);
  picture_free(&picture);
}

Test(picture, montage_of_strips_and_colours) {
  static float a[7 * 3 * 4], b[7 * 3 * 4];
  for (int i = 0; i < 84; i++) a[i] = 1;
  struct picture_strip strips[] = {{"original", a}, {"reconstruction", b}};
  struct picture_montage montage = {.strips = strips,
                                    .strip_count = 2,
                                    .count = 7,
                                    .tile_height = 2,
                                    .tile_width = 2,
                                    .channels = 3,
                                    .columns = 3,
                                    .scale = 10};
  cr_assert(picture_montage(&picture, &montage, &error) == 0, "%s", error.message);
  cr_assert(count_colour(&picture, 0x000000) == 7 * 400, "each tile of the second strip is there once");
  picture_free(&picture);
}

static void expect_refusal(struct picture_montage montage, const char *words) {
  strcpy(error.message, "(no message)");
  cr_assert(picture_montage(&picture, &montage, &error) == -1);
  cr_assert(strstr(error.message, words) != NULL, "'%s' is not in: %s", words, error.message);
  cr_assert(picture.pixels == NULL);
}

Test(picture, requests_that_are_refused) {
  const float tile[4] = {0};
  struct picture_strip strips[] = {{NULL, tile}};
  struct picture_montage good = {
      .strips = strips, .strip_count = 1, .count = 1, .tile_height = 2, .tile_width = 2, .channels = 1};
  struct picture_montage bad = good;
  bad.count = 0;
  expect_refusal(bad, "no tiles");
  bad = good, bad.channels = 2;
  expect_refusal(bad, "one channel, or three");
  bad = good, bad.tile_width = 0;
  expect_refusal(bad, "tiles of 2 x 0");
  bad = good, bad.low = 1, bad.high = 1;
  expect_refusal(bad, "is empty");
  bad = good, bad.count = 1000000, bad.scale = 100;
  expect_refusal(bad, "too large");
  cr_assert(picture_create(&picture, 0, 5, 0, &error) == -1 &&
            picture_create(&picture, 100000, 100000, 0, &error) == -1);
  cr_assert(picture_chart(&picture, &(struct picture_chart){.width = 60, .height = 60}, &error) == -1);
  cr_assert(picture_chart(&picture, &(struct picture_chart){.low = 2, .high = 1}, &error) == -1);
  cr_assert(picture_create(&picture, 5, 5, 0, &error) == 0);
  cr_assert(picture_write(&picture, scratch_path("none/a.png"), &error) == -1);
  cr_assert(strstr(error.message, "no such file") != NULL, "%s", error.message);
  cr_assert(picture_write(&picture, scratch_directory, &error) == -1);
  cr_assert(scratch_count() == 0);
  picture_free(&picture);
}

Test(picture, chart_draws_each_series) {
  const double x[] = {1, 2, 3, 4}, y[] = {-4, -2, NAN, -1}, level[] = {-1.5, -1.5, -1.5, -1.5};
  struct picture_series series[] = {{"elbo", x, y, 4, false}, {"truth", x, level, 4, true}};
  struct picture_chart chart = {
      .title = "t", .x_label = "epoch", .y_label = "nats", .series = series, .series_count = 2};
  cr_assert(picture_chart(&picture, &chart, &error) == 0, "%s", error.message);
  cr_assert(picture.width == 1000 && picture.height == 600);
  cr_assert(count_colour(&picture, 0x0072B2) > 500 && count_colour(&picture, 0xD55E00) > 500);
  expect_round_trip(PNG_FORMAT_RGB);
  picture_free(&picture);
}

/* Ranges of all kinds: no endless loop, no index out of bounds, always a picture. */
Test(picture, chart_of_any_numbers) {
  static const double wild[] = {0, 1, -1, 1.7e308, -1.7e308, 1e-300, NAN, INFINITY, -INFINITY, 5e-324, 1e17, 3.5};
  uint64_t state = 3;
  double x[6], y[6];
  for (int round = 0; round < 150; round++) {
    for (int i = 0; i < 6; i++) {
      x[i] = round % 3 ? i : wild[scratch_random(&state) % 12];
      y[i] = wild[scratch_random(&state) % 12];
    }
    struct picture_series series[] = {
        {"s", round % 2 ? x : NULL, y, (long)(scratch_random(&state) % 7), round % 5 == 0}};
    struct picture_chart chart = {.y_label = "y", .series = series, .series_count = 1, .width = 400, .height = 200};
    int status = picture_chart(&picture, &chart, &error);
    cr_assert(status == 0 || strstr(error.message, "no room") != NULL, "round %d: %s", round, error.message);
    if (status == 0) picture_free(&picture);
  }
}
