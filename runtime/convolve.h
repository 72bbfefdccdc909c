/* What a convolution's kernels are told of it: `sizes`, in this order, and how much memory they work in. */
#ifndef SPM_CONVOLVE_H
#define SPM_CONVOLVE_H

enum {
  SPM_CHANNELS, /* images [channels, height, width] */
  SPM_HEIGHT,
  SPM_WIDTH,
  SPM_FILTERS, /* filters [filters, channels, window height, window width] */
  SPM_WINDOW_HEIGHT,
  SPM_WINDOW_WIDTH,
  SPM_DOWN, /* features [filters, down, across] */
  SPM_ACROSS,
  SPM_STRIDE,
  SPM_PADDING,
  SPM_GROUP, /* a strip: `group` whole images, or, with group 1, `lines` lines of places of one image */
  SPM_LINES,
  SPM_CONVOLVE_SIZES
};

/* Runs are copied in pieces of this length, past their end; what comes after is written later. */
enum { SPM_CONVOLVE_CHUNK = 8 };

/* An image with its padding: [channels, height + 2 padding, phases, columns of a phase], where a pixel's phase is its
 * column modulo the stride: what lies under one place of a window is a run for each line of places. */
static inline long spm_convolve_phases(const long *s) {
  return s[SPM_STRIDE] < s[SPM_WINDOW_WIDTH] ? s[SPM_STRIDE] : s[SPM_WINDOW_WIDTH];
}
static inline long spm_convolve_phase(const long *s) {
  return s[SPM_ACROSS] + (s[SPM_WINDOW_WIDTH] - 1) / s[SPM_STRIDE];
}
static inline long spm_convolve_padded(const long *s) {
  return s[SPM_CHANNELS] * (s[SPM_HEIGHT] + 2 * s[SPM_PADDING]) * spm_convolve_phases(s) * spm_convolve_phase(s);
}
/* Pixels under one place: the rows of a strip's columns. */
static inline long spm_convolve_depth(const long *s) {
  return s[SPM_CHANNELS] * s[SPM_WINDOW_HEIGHT] * s[SPM_WINDOW_WIDTH];
}
/* Reals: a strip's padded images, columns and features, in this order. */
static inline long spm_convolve_work(const long *s) {
  long places = s[SPM_GROUP] * s[SPM_LINES] * s[SPM_ACROSS];
  return s[SPM_GROUP] * spm_convolve_padded(s) + (spm_convolve_depth(s) + s[SPM_FILTERS]) * places +
         2 * SPM_CONVOLVE_CHUNK;
}

#endif
