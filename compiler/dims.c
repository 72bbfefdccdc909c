/* Dims: arithmetic on lengths, as numbers and as polynomials in the author's dim names at once.
 * Requires names to be interned; leaves polynomials interned, so that equal ones are one pointer.
 * A polynomial whose rational coefficients no longer fit into 64 bits becomes a bare number: it then agrees by value.
 */
#include "dims.h"

#include <math.h>
#include <string.h>

typedef struct Rational { /* lowest terms, denominator > 0 */
  int64_t numerator, denominator;
} Rational;

enum { MAX_DEGREE = 16, MAX_TERMS = 32 };

typedef struct Term {
  Rational coefficient; /* never 0 */
  int degree;
  Name factors[MAX_DEGREE]; /* sorted by text; a power is a repetition */
} Term;

struct Polynomial {
  const Polynomial *next; /* in its bucket */
  uint64_t hash;
  int count;
  Term *terms; /* higher degrees first, then by text; like terms are one */
};

enum { BUCKETS = 256 };
typedef struct PolynomialTable {
  const Polynomial *buckets[BUCKETS];
} PolynomialTable;

/* --- rationals; false on overflow --- */

static int64_t greatest_common_divisor(int64_t a, int64_t b) {
  while (b != 0) {
    int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a < 0 ? -a : a;
}

static bool rational_make(int64_t numerator, int64_t denominator, Rational *out) {
  if (denominator == 0 || numerator == INT64_MIN || denominator == INT64_MIN) return false;
  int64_t divisor = greatest_common_divisor(numerator, denominator);
  if (divisor == 0) divisor = 1;
  if (denominator < 0) divisor = -divisor;
  out->numerator = numerator / divisor;
  out->denominator = denominator / divisor;
  return true;
}

static bool rational_multiply(Rational a, Rational b, Rational *out) {
  int64_t numerator, denominator;
  return !__builtin_mul_overflow(a.numerator, b.numerator, &numerator) &&
         !__builtin_mul_overflow(a.denominator, b.denominator, &denominator) &&
         rational_make(numerator, denominator, out);
}

static bool rational_add(Rational a, Rational b, Rational *out) {
  int64_t left, right, sum, denominator;
  return !__builtin_mul_overflow(a.numerator, b.denominator, &left) &&
         !__builtin_mul_overflow(b.numerator, a.denominator, &right) && !__builtin_add_overflow(left, right, &sum) &&
         !__builtin_mul_overflow(a.denominator, b.denominator, &denominator) && rational_make(sum, denominator, out);
}

/* The fraction with a small denominator that is this double exactly (0.5, 0.1, 3), by continued fractions. */
static bool rational_from(double value, Rational *out) {
  enum { LARGEST_DENOMINATOR = 1000000 };
  if (!(fabs(value) <= 9007199254740992.0)) return false;
  int64_t before_numerator = 1, before_denominator = 0;
  int64_t numerator = (int64_t)floor(value), denominator = 1;
  double rest = value - floor(value);
  while ((double)numerator / (double)denominator != value) {
    if (rest == 0) return false;
    rest = 1 / rest;
    double whole = floor(rest);
    if (!(whole <= LARGEST_DENOMINATOR)) return false;
    rest -= whole;
    int64_t scaled, next_numerator;
    if (__builtin_mul_overflow((int64_t)whole, numerator, &scaled) ||
        __builtin_add_overflow(scaled, before_numerator, &next_numerator))
      return false;
    int64_t next_denominator = (int64_t)whole * denominator + before_denominator;
    if (next_denominator > LARGEST_DENOMINATOR) return false;
    before_numerator = numerator;
    before_denominator = denominator;
    numerator = next_numerator;
    denominator = next_denominator;
  }
  return rational_make(numerator, denominator, out);
}

/* --- sums of terms under construction --- */

typedef struct Draft {
  int count;
  Term terms[MAX_TERMS];
} Draft;

/* Order of terms as an author writes them: D * D before D before 1; names by text, so the order never depends on
 * addresses. */
static int compare_monomials(const Term *a, const Term *b) {
  if (a->degree != b->degree) return b->degree - a->degree;
  for (int i = 0; i < a->degree; i++) {
    int order = strcmp(a->factors[i], b->factors[i]);
    if (order != 0) return order;
  }
  return 0;
}

/* Adds a term in its place, merging like terms. */
static bool draft_add(Draft *draft, const Term *term) {
  int place = 0;
  while (place < draft->count && compare_monomials(&draft->terms[place], term) < 0) place++;
  if (place < draft->count && compare_monomials(&draft->terms[place], term) == 0) {
    Term *like = &draft->terms[place];
    if (!rational_add(like->coefficient, term->coefficient, &like->coefficient)) return false;
    if (like->coefficient.numerator == 0) {
      memmove(like, like + 1, sizeof *like * (size_t)(draft->count - place - 1));
      draft->count--;
    }
    return true;
  }
  if (term->coefficient.numerator == 0) return true;
  if (draft->count == MAX_TERMS) return false;
  memmove(&draft->terms[place + 1], &draft->terms[place], sizeof *term * (size_t)(draft->count - place));
  draft->terms[place] = *term;
  draft->count++;
  return true;
}

static bool term_multiply(const Term *a, const Term *b, Term *out) {
  memset(out, 0, sizeof *out);
  if (a->degree + b->degree > MAX_DEGREE) return false;
  if (!rational_multiply(a->coefficient, b->coefficient, &out->coefficient)) return false;
  out->degree = a->degree + b->degree;
  for (int i = 0, j = 0, n = 0; n < out->degree; n++) {
    bool from_a = j == b->degree || (i < a->degree && strcmp(a->factors[i], b->factors[j]) <= 0);
    out->factors[n] = from_a ? a->factors[i++] : b->factors[j++];
  }
  return true;
}

/* The terms of a dim: its polynomial's, or a constant term for a bare number. */
static bool draft_from(Dim dim, Draft *draft) {
  memset(draft, 0, sizeof *draft);
  if (dim.symbol == NULL) {
    Term constant = {0};
    return rational_from(dim.size, &constant.coefficient) && draft_add(draft, &constant);
  }
  draft->count = dim.symbol->count;
  memcpy(draft->terms, dim.symbol->terms, sizeof(Term) * (size_t)draft->count);
  return true;
}

static uint64_t draft_hash(const Draft *draft) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (int t = 0; t < draft->count; t++) {
    const Term *term = &draft->terms[t];
    hash = (hash ^ (uint64_t)term->coefficient.numerator) * 0x100000001b3u;
    hash = (hash ^ (uint64_t)term->coefficient.denominator) * 0x100000001b3u;
    for (int i = 0; i < term->degree; i++) hash = (hash ^ (uint64_t)(uintptr_t)term->factors[i]) * 0x100000001b3u;
    hash = (hash ^ (uint64_t)term->degree) * 0x100000001b3u;
  }
  return hash;
}

static bool draft_equals(const Draft *draft, const Polynomial *polynomial) {
  if (draft->count != polynomial->count) return false;
  for (int t = 0; t < draft->count; t++) {
    const Term *a = &draft->terms[t], *b = &polynomial->terms[t];
    if (a->coefficient.numerator != b->coefficient.numerator ||
        a->coefficient.denominator != b->coefficient.denominator || compare_monomials(a, b) != 0)
      return false;
  }
  return true;
}

/* The one polynomial with these terms; NULL where no name is left in them. */
static const Polynomial *polynomial_intern(Compilation *c, const Draft *draft) {
  if (draft->count == 0 || draft->terms[0].degree == 0) return NULL;
  if (c->polynomials == NULL) c->polynomials = arena_new(c, PolynomialTable);
  uint64_t hash = draft_hash(draft);
  const Polynomial **bucket = &c->polynomials->buckets[(hash ^ hash >> 32) % BUCKETS];
  for (const Polynomial *p = *bucket; p != NULL; p = p->next)
    if (p->hash == hash && draft_equals(draft, p)) return p;
  Polynomial *made = arena_new(c, Polynomial);
  made->next = *bucket;
  made->hash = hash;
  made->count = draft->count;
  made->terms = arena_array(c, Term, draft->count);
  memcpy(made->terms, draft->terms, sizeof(Term) * (size_t)draft->count);
  *bucket = made;
  return made;
}

/* --- the public arithmetic --- */

Dim dim_number(double value) { return (Dim){.size = value}; }

Dim dim_name(Compilation *c, Name name, double value) {
  Draft draft = {.count = 1};
  draft.terms[0] = (Term){.coefficient = {1, 1}, .degree = 1};
  draft.terms[0].factors[0] = name;
  return (Dim){.size = value, .symbol = polynomial_intern(c, &draft)};
}

static Dim add_scaled(Compilation *c, Dim a, Dim b, int sign) {
  Dim result = dim_number(a.size + sign * b.size);
  Draft left, right;
  if ((a.symbol == NULL && b.symbol == NULL) || !draft_from(a, &left) || !draft_from(b, &right)) return result;
  for (int t = 0; t < right.count; t++) {
    right.terms[t].coefficient.numerator *= sign;
    if (!draft_add(&left, &right.terms[t])) return result;
  }
  result.symbol = polynomial_intern(c, &left);
  return result;
}

Dim dim_add(Compilation *c, Dim a, Dim b) { return add_scaled(c, a, b, 1); }

Dim dim_subtract(Compilation *c, Dim a, Dim b) { return add_scaled(c, a, b, -1); }

Dim dim_multiply(Compilation *c, Dim a, Dim b) {
  Dim result = dim_number(a.size * b.size);
  Draft left, right, product = {0};
  if ((a.symbol == NULL && b.symbol == NULL) || !draft_from(a, &left) || !draft_from(b, &right)) return result;
  for (int i = 0; i < left.count; i++)
    for (int j = 0; j < right.count; j++) {
      Term term;
      if (!term_multiply(&left.terms[i], &right.terms[j], &term) || !draft_add(&product, &term)) return result;
    }
  result.symbol = polynomial_intern(c, &product);
  return result;
}

Dim dim_divide(Compilation *c, Dim a, Dim b) {
  Dim result = dim_number(a.size / b.size);
  Draft quotient;
  Rational divisor;
  if (a.symbol == NULL || b.symbol != NULL || b.size == 0 || !rational_from(b.size, &divisor) ||
      !draft_from(a, &quotient))
    return result;
  Rational inverse;
  if (!rational_make(divisor.denominator, divisor.numerator, &inverse)) return result;
  for (int t = 0; t < quotient.count; t++)
    if (!rational_multiply(quotient.terms[t].coefficient, inverse, &quotient.terms[t].coefficient)) return result;
  result.symbol = polynomial_intern(c, &quotient);
  return result;
}

bool dim_agree(Dim a, Dim b) {
  if (a.symbol != NULL && b.symbol != NULL) return a.symbol == b.symbol;
  return a.size == b.size;
}

bool dim_same(Dim a, Dim b) { return a.symbol == b.symbol && (a.symbol != NULL || a.size == b.size); }

/* --- printing --- */

/* "3 * D / 2", without its sign. */
static void term_print(Text *text, const Term *term) {
  int64_t numerator = term->coefficient.numerator < 0 ? -term->coefficient.numerator : term->coefficient.numerator;
  bool any = false;
  if (numerator != 1 || term->degree == 0) {
    text_append(text, "%lld", (long long)numerator);
    any = true;
  }
  for (int i = 0; i < term->degree;) {
    int power = 1;
    while (i + power < term->degree && term->factors[i + power] == term->factors[i]) power++;
    text_append(text, any ? " * %s" : "%s", term->factors[i]);
    if (power > 1) text_append(text, "^%d", power);
    any = true;
    i += power;
  }
  if (term->coefficient.denominator != 1) text_append(text, " / %lld", (long long)term->coefficient.denominator);
}

const char *dim_text(Compilation *c, Dim dim) {
  if (dim.symbol == NULL) return shortest_number(c, dim.size);
  Text text = {.compilation = c};
  bool any = false;
  /* what is added first, then what is taken away: "2 - K", not "-K + 2" */
  for (int negative = 0; negative < 2; negative++)
    for (int t = 0; t < dim.symbol->count; t++) {
      const Term *term = &dim.symbol->terms[t];
      if ((term->coefficient.numerator < 0) != (negative == 1)) continue;
      if (any)
        text_append(&text, negative ? " - " : " + ");
      else if (negative)
        text_append(&text, "-");
      term_print(&text, term);
      any = true;
    }
  return text.bytes;
}
