# Sources -> build/spmc, tests, a demonstration. `make help` lists the targets.
# Everything that is made lies under $(BUILD); nothing outside it is written.

VERSION := 0.1.0

# What apt has to provide. This is the only place where packages are named.
BUILD_PACKAGES := gcc libc6-dev make pkg-config flex bison libtcc-dev libopenblas-pthread-dev libpng-dev zlib1g-dev libjansson-dev
TEST_PACKAGES := libcriterion-dev clang
DATA_PACKAGES := dataset-fashion-mnist
FORMAT_PACKAGES := clang-format

CC := gcc
ARCH := native
BUILD := build
SANITIZE :=
DEMO_EPOCHS := 3
PRIOR_EPOCHS := 2
FUZZ_SPECS := 2000
FUZZ_FIRST := 1
FUZZ_PROCESSES := $(shell nproc 2>/dev/null || echo 1)

# --- flags -----------------------------------------------------------------------------------------------------------
# pkg-config is asked when a recipe first needs it, so that `deps` can run before.
once = $(eval $(1) := $(2))$($(1))
LIBRARY_FLAGS = $(call once,LIBRARY_FLAGS,$(shell pkg-config --cflags libpng zlib jansson))
LIBRARIES = $(call once,LIBRARIES,$(shell pkg-config --libs libpng zlib jansson) -ltcc -ldl -lm -lpthread)

# A name that is cut to fit a table is meant so.
WARNINGS := -Wall -Wextra -Wshadow -Werror -Wno-format-truncation
ifneq ($(SANITIZE),)
  CHECKS := -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=undefined
endif
COMMON := -D_GNU_SOURCE= -DSPM_VERSION='"$(VERSION)"' -I. -Icompiler -Iruntime -I$(BUILD) -g $(CHECKS)
COMPILER_FLAGS := -std=c11 -O2 $(WARNINGS) -Wswitch-enum $(COMMON)
# Contraction and reassociation would make results depend on the compiler; errno stands in the way of a vector sqrt.
RUNTIME_FLAGS := -std=c11 -O3 -march=$(ARCH) -ffp-contract=off -fno-math-errno $(WARNINGS) $(COMMON)
# flex's and bison's output is not ours to keep free of warnings.
GENERATED_FLAGS := -std=c11 -O2 -Wall -Werror -Wno-unused-function -Wno-unused-but-set-variable $(COMMON)
# After a failed assertion a test does not go on, which gcc cannot know.
TEST_FLAGS := -std=c11 -O1 $(WARNINGS) -Wno-maybe-uninitialized $(COMMON) -Itests

# --- files -----------------------------------------------------------------------------------------------------------
# Programs of their own, not part of the library.
TOOLS := compiler/embed.c
COMMANDS := $(wildcard compiler/main.c compiler/command*.c)
COMPILER := $(filter-out $(TOOLS) $(COMMANDS),$(wildcard compiler/*.c))
RUNTIME := $(wildcard runtime/*.c)
# Written in terms of `real`, compiled for float and for double; -DSPM_DOUBLE gives every function a second name.
NUMERIC := $(filter $(RUNTIME),$(addprefix runtime/,kernels.c $(notdir $(wildcard runtime/kernels_*.c)) optim.c lbfgs.c driver.c))
GENERATED := $(if $(wildcard compiler/parser.y),$(BUILD)/parser.c) $(if $(wildcard compiler/lexer.l),$(BUILD)/lexer.c)
# Texts the program carries with it: the library in .spm, and what generated C files are made of.
TEXTS := $(sort $(wildcard compiler/library/*.spm runtime/*.def runtime/kernels_*.c runtime/standalone/*) \
           $(addprefix runtime/,model.h vmath.h special.h philox.h convolve.h sparse.h driver.h driver.c optim.h optim.c stage.h stage.c given.h given.c selection.h selection.c lbfgs.h lbfgs.c fit.h fit.c \
           row_state.h row_state.c solved.h solved.c rng.h rng.c))

objects = $(patsubst %.c,$(BUILD)/%.o,$(1))
LIBRARY := $(call objects,$(COMPILER) $(RUNTIME)) $(patsubst %.c,$(BUILD)/%_double.o,$(NUMERIC)) \
           $(GENERATED:.c=.o) $(BUILD)/embedded.o

TEST_SOURCES := $(sort $(wildcard tests/test_*.c tests/*/test_*.c))
TEST_SUPPORT := $(filter-out tests/test_%,$(wildcard tests/*.c)) $(wildcard tests/fuzz/random_*.c)
# The long ones begin first, so that no processor waits for one of them at the end.
LONG_TESTS := $(addprefix $(BUILD)/tests/,test_specs test_self_check)
TEST_PROGRAMS := $(LONG_TESTS) $(filter-out $(LONG_TESTS),$(patsubst tests/%.c,$(BUILD)/tests/%,$(TEST_SOURCES)))
TEST_SCRIPTS := $(sort $(wildcard tests/test_*.sh tests/*/test_*.sh))
BENCHES := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/bench/bench_*.c))

# --- targets ---------------------------------------------------------------------------------------------------------
.PHONY: all help deps deps-test deps-data deps-format test run-tests demo run-demo golden asan fuzz format bench tests clean
.DELETE_ON_ERROR:
.SUFFIXES:

all: $(BUILD)/spmc

help:
	@echo 'make          build $(BUILD)/spmc'
	@echo 'make deps     install what the build needs (apt-get); test and demo do this by themselves'
	@echo 'make test     build everything and run every test'
	@echo 'make demo     train specs/laplace_vae.spm on Fashion-MNIST for DEMO_EPOCHS=$(DEMO_EPOCHS) epochs, into $(BUILD)/demo'
	@echo 'make priors   train the specs of specs/priors on Fashion-MNIST for PRIOR_EPOCHS=$(PRIOR_EPOCHS) epochs and print a table'
	@echo 'make golden   rewrite the expected outputs under tests/golden'
	@echo 'make asan     run every test under the address and undefined-behaviour sanitizers'
	@echo 'make fuzz     send FUZZ_SPECS=$(FUZZ_SPECS) random specs from number FUZZ_FIRST=$(FUZZ_FIRST) on through every back end, and print which ops they reached'
	@echo 'make bench    run the benchmarks under tests/bench'
	@echo 'make format   lay out all C files with clang-format'
	@echo 'make clean    remove $(BUILD)'
	@echo 'Settings: CC=$(CC)  ARCH=$(ARCH) (-march of the runtime)  BUILD=$(BUILD)'

test: deps deps-test deps-data
	+@$(MAKE) --no-print-directory run-tests

tests: $(BUILD)/spmc $(TEST_PROGRAMS) $(BUILD)/examples/make_bars $(BUILD)/examples/embed/embed

run-tests: tests
	@SPMC=$(abspath $(BUILD)/spmc) SPM_BUILD=$(abspath $(BUILD)) sh tests/run.sh $(TEST_PROGRAMS) $(TEST_SCRIPTS)

# These compare with files, and write them anew when SPM_GOLDEN=write.
GOLDEN := $(filter %golden %/test_syntax %/test_front,$(TEST_PROGRAMS)) $(filter %golden.sh,$(TEST_SCRIPTS))
golden: deps deps-test
	+@$(MAKE) --no-print-directory tests
	@[ -z '$(strip $(GOLDEN))' ] || SPM_GOLDEN=write SPMC=$(abspath $(BUILD)/spmc) SPM_BUILD=$(abspath $(BUILD)) \
	  sh tests/run.sh $(GOLDEN)

# Leaks are not looked for: OpenBLAS's and libtcc's own would drown ours.
asan:
	+@ASAN_OPTIONS=detect_leaks=0 $(MAKE) --no-print-directory BUILD=$(BUILD)/asan SANITIZE=address,undefined test

fuzz: deps deps-test
	+@$(MAKE) --no-print-directory $(BUILD)/tests/fuzz/test_fuzz
	$(BUILD)/tests/fuzz/test_fuzz $(FUZZ_FIRST) $(FUZZ_SPECS) $(FUZZ_PROCESSES)

format: deps-format
	clang-format -i $(wildcard compiler/*.c compiler/*.h runtime/*.c runtime/*.h runtime/*/*.c runtime/*/*.h tests/*.c tests/*.h tests/*/*.c examples/*.c)

bench: deps
	+@$(MAKE) --no-print-directory run-benches

.PHONY: run-benches
run-benches: $(BUILD)/spmc $(BENCHES)
	@for program in $(BENCHES); do echo "$$program"; SPMC=$(abspath $(BUILD)/spmc) $$program || exit 1; done
	@for script in $(wildcard tests/bench/*.sh); do SPMC=$(abspath $(BUILD)/spmc) sh $$script || exit 1; done

clean:
	rm -rf $(BUILD)

# --- the demonstration -----------------------------------------------------------------------------------------------
FASHION := /usr/share/datasets/fashion-mnist

demo: deps deps-data
	+@$(MAKE) --no-print-directory run-demo

run-demo: $(BUILD)/spmc $(BUILD)/examples/make_bars
	@rm -rf $(BUILD)/demo
	@if [ -r $(FASHION)/train-images-idx3-ubyte.gz ]; then \
	  train=$(FASHION)/train-images-idx3-ubyte.gz; test=$(FASHION)/t10k-images-idx3-ubyte.gz; \
	else \
	  echo 'demo: Fashion-MNIST (package $(DATA_PACKAGES)) cannot be had here; going on with generated pictures of bars'; \
	  train=$(BUILD)/bars-train.idx; test=$(BUILD)/bars-test.idx; \
	  $(BUILD)/examples/make_bars $$train 20000 1 && $(BUILD)/examples/make_bars $$test 2000 2 || exit 1; \
	fi; \
	echo "$(BUILD)/spmc train specs/laplace_vae.spm --data x=$$train --test x=$$test --epochs $(DEMO_EPOCHS) --seed 1 --out $(BUILD)/demo"; \
	$(BUILD)/spmc train specs/laplace_vae.spm --data x=$$train --test x=$$test --epochs $(DEMO_EPOCHS) --seed 1 --out $(BUILD)/demo
	@test -s $(BUILD)/demo/figures/reconstructions.png

# --- priors ----------------------------------------------------------------------------------------------------------
.PHONY: priors
priors: deps deps-data $(BUILD)/spmc
	@SPMC=$(BUILD)/spmc FASHION=$(FASHION) OUT=$(BUILD)/priors sh specs/priors/run.sh $(PRIOR_EPOCHS)

# --- packages --------------------------------------------------------------------------------------------------------
# $(call install,PACKAGES): installs those that are missing, or says what to run and fails.
define install
@missing=; \
if ! command -v dpkg-query >/dev/null; then \
  echo 'not a Debian system, going on without a check: this needs what Debian calls $(strip $(1))'; exit 0; \
fi; \
for package in $(1); do \
  dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q '^install ok installed$$' || missing="$$missing $$package"; \
done; \
[ -z "$$missing" ] && exit 0; \
run="apt-get install -y --no-install-recommends$$missing"; \
as=; if [ "$$(id -u)" != 0 ]; then as=sudo; \
  { command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; } || \
    { echo "missing packages; as root, run"; echo "  $$run"; exit 1; } >&2; \
fi; \
echo "installing$$missing"; \
log=$$(mktemp); \
if DEBIAN_FRONTEND=noninteractive $$as $$run >"$$log" 2>&1 || \
  { $$as apt-get update >>"$$log" 2>&1; DEBIAN_FRONTEND=noninteractive $$as $$run >>"$$log" 2>&1; }; then rm -f "$$log"; exit 0; fi; \
{ tail -n 5 "$$log"; rm -f "$$log"; echo "could not install the missing packages; with a network, as root, run"; \
  echo "  apt-get update && $$run"; } >&2; exit 1
endef

# One after the other even under -j: apt takes a lock.
deps: ; $(call install,$(BUILD_PACKAGES))
deps-test: deps ; $(call install,$(TEST_PACKAGES))
deps-format: ; $(call install,$(FORMAT_PACKAGES))
# Only tests and the demonstration on real pictures want it, and both do without.
deps-data: deps deps-test-first ; -$(call install,$(DATA_PACKAGES))
.PHONY: deps-test-first
deps-test-first: $(if $(filter test asan,$(MAKECMDGOALS)),deps-test)

# `make V=1` shows whole commands.
quiet = $(if $(V),,@echo '  $(1)  $(2)';)

# --- building --------------------------------------------------------------------------------------------------------
# Rewritten only when it changes, so that a new CC, ARCH or version rebuilds everything.
SETTINGS := $(CC) $(COMPILER_FLAGS) $(RUNTIME_FLAGS)
$(BUILD)/settings: FORCE
	@mkdir -p $(@D); echo "$(subst ",,$(SETTINGS))" | cmp -s - $@ || echo "$(subst ",,$(SETTINGS))" > $@
.PHONY: FORCE
FORCE:

# Exported (-rdynamic), because code compiled at run time binds to the kernels by name.
LINK = $(CC) $(CHECKS) -rdynamic -o $@ $(filter %.o,$^) $(LIBRARIES)

$(BUILD)/spmc: $(call objects,$(COMMANDS)) $(LIBRARY)
	$(call quiet,link,$@)$(LINK)

$(BUILD)/compiler/%.o: compiler/%.c $(BUILD)/settings $(if $(GENERATED),$(BUILD)/parser.c)
	@mkdir -p $(@D)
	$(call quiet,cc  ,$<)$(CC) $(COMPILER_FLAGS) $(LIBRARY_FLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/runtime/%_double.o: runtime/%.c $(BUILD)/settings
	@mkdir -p $(@D)
	$(call quiet,cc  ,$< (double))$(CC) $(RUNTIME_FLAGS) -DSPM_DOUBLE $(LIBRARY_FLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/runtime/%.o: runtime/%.c $(BUILD)/settings
	@mkdir -p $(@D)
	$(call quiet,cc  ,$<)$(CC) $(RUNTIME_FLAGS) $(LIBRARY_FLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/parser.c: compiler/parser.y $(BUILD)/settings
	$(call quiet,bison,$<)bison -Wall -Werror --header=$(BUILD)/parser.h -o $@ $<

$(BUILD)/lexer.c: compiler/lexer.l $(BUILD)/settings
	$(call quiet,flex,$<)flex -o $@ $<

$(BUILD)/parser.o $(BUILD)/lexer.o: $(BUILD)/%.o: $(BUILD)/%.c $(GENERATED)
	$(call quiet,cc  ,$<)$(CC) $(GENERATED_FLAGS) $(LIBRARY_FLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/embed: compiler/embed.c $(BUILD)/settings
	$(call quiet,cc  ,$<)$(CC) $(COMPILER_FLAGS) -o $@ $<

$(BUILD)/texts: FORCE
	@mkdir -p $(@D); echo '$(TEXTS)' | cmp -s - $@ || echo '$(TEXTS)' > $@

$(BUILD)/embedded.c: $(BUILD)/embed $(TEXTS) $(BUILD)/texts
	$(call quiet,embed,$@)$(BUILD)/embed $(TEXTS) > $@

$(BUILD)/embedded.o: $(BUILD)/embedded.c compiler/embedded.h
	$(call quiet,cc  ,$<)$(CC) $(COMPILER_FLAGS) -c -o $@ $<

# Tests take from archives what they use, so each builds even while another part does not.
$(BUILD)/libspm.a: $(LIBRARY)
	$(call quiet,ar  ,$@)rm -f $@.new && ar rcs $@.new $^ && mv $@.new $@

$(BUILD)/tests/support.a: $(call objects,$(TEST_SUPPORT))
	@mkdir -p $(@D)
	$(call quiet,ar  ,$@)rm -f $@.new && ar rcs $@.new $^ && mv $@.new $@

$(BUILD)/tests/%: tests/%.c $(BUILD)/tests/support.a $(BUILD)/libspm.a
	@mkdir -p $(@D)
	$(call quiet,cc  ,$<)$(CC) $(TEST_FLAGS) $(LIBRARY_FLAGS) -MMD -MP -MF $@.d -rdynamic -o $@ $< $(filter %.a,$^) $(LIBRARIES) $(WRAPPED) -lcriterion

# Counts the rows of every product that compiled code makes.
$(BUILD)/tests/test_members: WRAPPED := -Wl,--wrap=spm_gemm_d

# Benchmarks need no test framework, so of the tests' support only what does without one.
$(BUILD)/tests/bench/%: tests/bench/%.c $(call objects,$(wildcard tests/hand_graphs.c)) $(BUILD)/libspm.a
	@mkdir -p $(@D)
	$(call quiet,cc  ,$<)$(CC) $(TEST_FLAGS) -O2 $(LIBRARY_FLAGS) -MMD -MP -MF $@.d -rdynamic -o $@ $< $(filter %.o %.a,$^) $(LIBRARIES)

$(call objects,$(TEST_SUPPORT)): $(BUILD)/tests/%.o: tests/%.c $(BUILD)/settings
	@mkdir -p $(@D)
	$(call quiet,cc  ,$<)$(CC) $(TEST_FLAGS) $(LIBRARY_FLAGS) -MMD -MP -c -o $@ $<

# A program that holds the compiler: what it compiles at run time binds to the kernels by name, hence -rdynamic.
$(BUILD)/examples/embed/%: examples/embed/%.c $(BUILD)/libspm.a
	@mkdir -p $(@D)
	$(call quiet,cc  ,$<)$(CC) $(COMPILER_FLAGS) $(LIBRARY_FLAGS) -rdynamic -o $@ $^ $(LIBRARIES)

$(BUILD)/examples/%: examples/%.c $(BUILD)/settings
	@mkdir -p $(@D)
	$(call quiet,cc  ,$<)$(CC) $(COMPILER_FLAGS) -o $@ $< -lm

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
