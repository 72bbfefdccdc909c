#include <spm.h>
#include <stdio.h>

static const char spec[] =
    "model tiny; dim D = 4; dim K = 2;\n"
    "data x : real[D]; latent z : real[K]; prior z ~ laplace(0, 1);\n"
    "encoder q(x) { mu = dense(x, K); sd = exp(dense(x, K)); }\n"
    "posterior z ~ normal(q.mu, q.sd);\n"
    "decoder p(z) { mean = dense(z, D); }\n"
    "likelihood x ~ normal(p.mean, 0.5);\n"
    "objective elbo;\n"
    "train { optimizer = adam(lr = 1e-2); batch = 32; epochs = 20; }\n";

static int show(void *context, long epoch, long step, double objective) {
  (void)context;
  printf("epoch %ld, step %ld: %g\n", epoch, step, objective);
  return 0;
}

int main(void) {
  static float x[256 * 4], codes[256 * 2];
  const float *const data[] = {x};
  char error[1000];
  for (int i = 0; i < 256 * 4; i++) x[i] = (float)(i * i % 97) / 97;
  spm_compiled *compiled = spm_compile(spec, "tiny.spm", NULL, 0, error, sizeof error);
  spm_session *session = compiled ? spm_session_create(compiled, 32, 1, 1, error, sizeof error) : NULL;
  if (!session || spm_session_train(session, data, 256, 0, show, NULL, error, sizeof error) != 0 ||
      spm_session_rows(session, "encode", "z", data, 256, codes, error, sizeof error) != 0) {
    fprintf(stderr, "%s\n", error);
    return 1;
  }
  printf("the first row's codes: %g %g\n", (double)codes[0], (double)codes[1]);
  spm_session_free(session);
  spm_compiled_free(compiled);
  return 0;
}
