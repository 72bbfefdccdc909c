/* A device's program: learns codes for windows of a signal as they come in, then only encodes. No heap, no files, no
 * BLAS; all memory is there when the program starts. What it would send on goes through `report`. */
#include "sensor.h"

sensor *sensor_static(unsigned long long seed);

enum { ROWS = 8, SAMPLES = 32, CODES = 12, STEPS = 400 };

/* In place of the device's analogue input: two short patterns at places that nobody told. */
static float sample(unsigned long at) {
  static unsigned state = 1;
  static int where = 0, kind = 0;
  if (at % SAMPLES == 0) {
    state = state * 1664525u + 1013904223u;
    where = (int)(state >> 28);
    kind = (int)(state >> 27 & 1u);
  }
  int distance = (int)(at % SAMPLES) - where;
  if (distance < 0 || distance >= 8) return 0;
  return kind ? 1.0f : (float)(distance - 4) / 2;
}

/* result: nats a window at the start and at the end of training, and how many codes of the last window are active. */
int run_device(float result[3]) {
  static float window[ROWS * SAMPLES];
  const float *const data[] = {window};
  sensor *s = sensor_static(1);
  unsigned long time = 0;
  long size;
  if (!s) return 1;
  for (int step = 0; step < STEPS; step++) {
    for (int i = 0; i < ROWS * SAMPLES; i++) window[i] = sample(time++);
    if (sensor_step(s, data, ROWS) != 0) return 2;
    const float *objective = sensor_output(s, "objective", &size);
    if (step == 0) result[0] = *objective;
    result[1] = *objective;
  }
  if (sensor_run(s, "encode", data, 1) != 0) return 3;
  const float *codes = sensor_output(s, "z", &size);
  if (!codes || size != CODES) return 4;
  result[2] = 0;
  for (int k = 0; k < CODES; k++) result[2] += codes[k] > 0.05f;
  return 0;
}

#ifdef ON_A_DESK
#include <stdio.h>
int main(void) {
  float result[3];
  int failed = run_device(result);
  if (failed) return failed;
  printf("nats a window: %.2f at first, %.2f in the end; %g of %d codes active\n", (double)result[0], (double)result[1],
         (double)result[2], CODES);
  return result[1] <= result[0];
}
#else
int main(void) {
  float result[3];
  return run_device(result);
}
#endif
