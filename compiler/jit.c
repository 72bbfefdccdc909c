/* Jit: C text -> machine code in this process, with libtcc in memory, or through a C compiler and dlopen.
 *
 * libtcc's own relocation leaves pages that are writable and executable, and ends the process where the system forbids
 * them; so the code is placed into a mapping of ours that becomes read-and-execute. Its lock is unguarded, hence one
 * lock of ours from tcc_new to tcc_delete. Requires strips text; leaves a model whose code lives until jit_destroy. */
#include "jit.h"

#include <dlfcn.h>
#include <libtcc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../runtime/kernels.h"
#include "../runtime/model.h"

extern const struct spm_kernel_symbol spm_kernel_symbols_d[]; /* the header, read for float, has the others */

struct Jit {
  const struct spm_model *model;
  void *code; /* of libtcc */
  size_t code_size;
  void *library; /* of dlopen */
};

/* A function's address as data: ISO C has no conversion, POSIX has the same bits. */
static const void *address_of(void (*function)(void)) {
  const void *address;
  memcpy(&address, &function, sizeof address);
  return address;
}

static void say(char *message, size_t size, const char *what, const char *detail) {
  snprintf(message, size, "%s%s%s", what, detail[0] != '\0' ? ": " : "", detail);
}

/* --- libtcc --- */

static pthread_mutex_t tcc_lock = PTHREAD_MUTEX_INITIALIZER;

/* Every word of libtcc is an error, warnings too: an undeclared function is only a warning to it. */
typedef struct Complaints {
  char first[400];
  bool forbidden; /* by the system: no fault of ours */
} Complaints;

static void complain(void *context, const char *message) {
  Complaints *complaints = context;
  if (complaints->first[0] == '\0') snprintf(complaints->first, sizeof complaints->first, "%s", message);
}

/* Memory that may become executable, or NULL: asked for as such first, since some systems never allow it. */
static void *map_code(size_t size) {
  void *code = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) return NULL;
  if (mprotect(code, size, PROT_READ | PROT_WRITE) == 0) return code;
  munmap(code, size);
  return NULL;
}

static bool place_code(Jit *jit, TCCState *tcc, const char *symbol, Complaints *complaints) {
  int size = tcc_relocate(tcc, NULL);
  if (size < 0) return false;
  long page = sysconf(_SC_PAGESIZE);
  jit->code_size = ((size_t)size + (size_t)page - 1) / (size_t)page * (size_t)page;
  jit->code = map_code(jit->code_size);
  if (jit->code == NULL) {
    complain(complaints, "this system does not let a program run code that it has made");
    complaints->forbidden = true;
    return false;
  }
  if (tcc_relocate(tcc, jit->code) != 0) return false;
  jit->model = tcc_get_symbol(tcc, symbol);
  if (jit->model == NULL) {
    complain(complaints, "the model's description is missing");
    return false;
  }
  if (mprotect(jit->code, jit->code_size, PROT_READ | PROT_EXEC) != 0) {
    complain(complaints, "this system does not let made code become executable");
    complaints->forbidden = true;
    return false;
  }
  return true;
}

static bool compile_text(Jit *jit, TCCState *tcc, const char *text, const char *symbol, bool use_double,
                         Complaints *complaints) {
  tcc_set_error_func(tcc, complaints, complain);
  tcc_set_options(tcc, "-nostdlib");
  tcc_set_output_type(tcc, TCC_OUTPUT_MEMORY);
  if (use_double) tcc_define_symbol(tcc, "SPM_DOUBLE", "1");
  const struct spm_kernel_symbol *kernels = use_double ? spm_kernel_symbols_d : spm_kernel_symbols_f;
  for (int i = 0; kernels[i].name != NULL; i++) tcc_add_symbol(tcc, kernels[i].name, address_of(kernels[i].address));
  return tcc_compile_string(tcc, text) == 0 && complaints->first[0] == '\0' &&
         place_code(jit, tcc, symbol, complaints) && complaints->first[0] == '\0';
}

static bool check_model(const struct spm_model *model, bool use_double) {
  return model->abi == SPM_ABI && model->real_size == (int)(use_double ? sizeof(double) : sizeof(float));
}

Jit *jit_compile(const char *text, const char *model_name, bool use_double, char *message, size_t message_size) {
  Complaints complaints = {{0}, false};
  char symbol[256];
  Jit *jit = calloc(1, sizeof *jit);
  if (jit == NULL) {
    say(message, message_size, "out of memory", "");
    return NULL;
  }
  snprintf(symbol, sizeof symbol, "spm_model_%s", model_name);
  pthread_mutex_lock(&tcc_lock);
  TCCState *tcc = tcc_new();
  bool done = tcc != NULL && compile_text(jit, tcc, text, symbol, use_double, &complaints);
  if (tcc != NULL) tcc_delete(tcc);
  pthread_mutex_unlock(&tcc_lock);
  if (done && check_model(jit->model, use_double)) return jit;
  say(message, message_size, complaints.forbidden ? "libtcc" : "internal error: libtcc",
      complaints.first[0] != '\0' ? complaints.first : "failed");
  jit_destroy(jit);
  return NULL;
}

/* --- a C compiler --- */

typedef struct Files {
  char directory[64], source[96], library[96], log[96];
} Files;

static bool files_create(Files *files) {
  snprintf(files->directory, sizeof files->directory, "/tmp/spm-XXXXXX");
  if (mkdtemp(files->directory) == NULL) return false;
  snprintf(files->source, sizeof files->source, "%s/model.c", files->directory);
  snprintf(files->library, sizeof files->library, "%s/model.so", files->directory);
  snprintf(files->log, sizeof files->log, "%s/log", files->directory);
  return true;
}

static void files_remove(const Files *files) {
  unlink(files->source);
  unlink(files->library);
  unlink(files->log);
  rmdir(files->directory);
}

static bool write_text(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  if (file == NULL) return false;
  bool written = fputs(text, file) >= 0;
  return fclose(file) == 0 && written;
}

static void read_start(const char *path, char *text, size_t size) {
  FILE *file = fopen(path, "r");
  size_t length = file != NULL ? fread(text, 1, size - 1, file) : 0;
  if (file != NULL) fclose(file);
  text[length] = '\0';
}

static bool load_library(Jit *jit, const Files *files, const char *symbol, char *message, size_t message_size) {
  jit->library = dlopen(files->library, RTLD_NOW | RTLD_LOCAL);
  if (jit->library != NULL) jit->model = dlsym(jit->library, symbol);
  if (jit->model != NULL) return true;
  const char *why = dlerror();
  say(message, message_size, "the compiled model cannot be loaded", why != NULL ? why : "");
  return false;
}

static bool run_compiler(const Files *files, const char *compiler, const char *flags, bool use_double, char *message,
                         size_t message_size) {
  char command[1024], log[400];
  int length = snprintf(command, sizeof command, "%s %s %s -shared -fPIC -ffp-contract=off -o '%s' '%s' -lm >'%s' 2>&1",
                        compiler, flags, use_double ? "-DSPM_DOUBLE" : "", files->library, files->source, files->log);
  if (length >= (int)sizeof command) {
    say(message, message_size, "the compiler's flags are too long", "");
    return false;
  }
  if (system(command) == 0) return true;
  read_start(files->log, log, sizeof log);
  say(message, message_size, compiler, log);
  return false;
}

Jit *jit_compile_with(const char *compiler, const char *flags, const char *text, const char *model_name,
                      bool use_double, char *message, size_t message_size) {
  Files files;
  char symbol[256];
  Jit *jit = calloc(1, sizeof *jit);
  if (jit == NULL || !files_create(&files)) {
    say(message, message_size, "no room for a temporary directory", "");
    free(jit);
    return NULL;
  }
  snprintf(symbol, sizeof symbol, "spm_model_%s", model_name);
  bool done = write_text(files.source, text);
  if (!done) say(message, message_size, "cannot write", files.source);
  done = done && run_compiler(&files, compiler, flags, use_double, message, message_size) &&
         load_library(jit, &files, symbol, message, message_size);
  if (done && !check_model(jit->model, use_double)) {
    say(message, message_size, "internal error: the compiled model is of another version", "");
    done = false;
  }
  files_remove(&files);
  if (done) return jit;
  jit_destroy(jit);
  return NULL;
}

const struct spm_model *jit_model(const Jit *jit) { return jit->model; }

void jit_destroy(Jit *jit) {
  if (jit == NULL) return;
  if (jit->code != NULL) munmap(jit->code, jit->code_size);
  if (jit->library != NULL) dlclose(jit->library);
  free(jit);
}
