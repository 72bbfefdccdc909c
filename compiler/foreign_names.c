/* foreign names: what other languages call a function or distribution -> how it is written here, where no spelling
 * would tell. Told to authors who call what there is not; nothing is accepted by these names. */
#include "builtins.h"

#include <string.h>

#define VARIANCE "mean((v - mean(v, over = D))^2, over = D)"
#define DEVIATION "sqrt(mean((v - mean(v, over = D))^2, over = D))"
#define DROPOUT "draw keep : binary[H] ~ bernoulli(prob = 0.9);` and `training ? keep * h / 0.9 : h"
#define ATOM "distribution NAME(z : real atoms(0); ...) { log_pdf = z == 0 ? ... : ...; }"
const char *name_here(Name name) {
  static const char *const names[][2] = {
      {"linear", "dense"},    {"fully_connected", "dense"},
      {"gaussian", "normal"}, {"multinomial", "categorical"},
      {"cat", "concat"},      {"concatenate", "concat"},
      {"view", "reshape"},    {"detach", "stop"},
      {"ln", "log"},          {"stop_gradient", "stop"},
      {"fabs", "abs"},        {"clamp", "clip"},
      {"power", "a^b"},       {"pow", "a^b"},
      {"matmul", "a @ b"},    {"transpose", "a'"},
      {"where", "c ? a : b"}, {"batchnorm", "batch_norm(x)"},
      {"eye", "identity(n)"}, {"onehot", "one_hot"},
      {"silu", "swish"},      {"layernorm", "layer_norm(x)"},
      {"var", VARIANCE},      {"variance", VARIANCE},
      {"std", DEVIATION},     {"dropout", DROPOUT},
      {"delta", ATOM},        {"dirac", ATOM},
      {"atom", ATOM},         {"point_mass", ATOM},
  };
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(name, names[i][0]) == 0) return names[i][1];
  return NULL;
}
