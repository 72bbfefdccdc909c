/* atoms: the places where a distribution has a mass of its own -> numbers, and their share of KL(q || p), which the
 * quadrature of the densities leaves out. */
#include "kl.h"

#include <string.h>

enum { MOST_ATOMS = 8 };

/* How many; -1: they are no numbers, or those of a mixture's components. */
static int atoms_of(Elaborator *e, const Value *d, double *atoms) {
  int count = 0;
  if (!has_atoms(d)) return 0;
  if (d->combinator != COMBINE_NONE) return -1;
  const TypeExpr *type = d->family->formals.items[0].type;
  for (int i = 0; i < type->attribute_count; i++)
    for (int k = 0; strcmp(type->attributes[i].name, "atoms") == 0 && k < type->attributes[i].argument_count; k++) {
      Value v = elaborate(e, type->attributes[i].arguments[k].value);
      if (v.kind != VALUE_NUMBER || count == MOST_ATOMS) return -1;
      atoms[count++] = v.dim.size;
    }
  return count;
}

const char *atoms_misfit(Elaborator *e, const KlPair *pair) {
  double atoms[MOST_ATOMS];
  bool known = atoms_of(e, pair->q, atoms) >= 0 && atoms_of(e, pair->p, atoms) >= 0;
  return known ? kl_is_infinite(e, pair) : "the places of its atoms are not known";
}

const char *kl_is_infinite(Elaborator *e, const KlPair *pair) {
  double q[MOST_ATOMS], p[MOST_ATOMS];
  int q_count = atoms_of(e, pair->q, q), p_count = atoms_of(e, pair->p, p);
  for (int i = 0; i < q_count && p_count >= 0; i++) {
    bool shared = false;
    for (int k = 0; k < p_count; k++) shared = shared || q[i] == p[k];
    if (!shared)
      return arena_printf(e->c, "it is infinite, for %s has an atom at %g and %s has none", distribution_name(pair->q),
                          q[i], distribution_name(pair->p));
  }
  return NULL;
}

bool add_atoms(Elaborator *e, const KlPair *pair, bool closed_entropy, Value *mass, Value *sum) {
  double atoms[MOST_ATOMS];
  int count = atoms_of(e, pair->q, atoms);
  Span span = pair->span;
  for (int i = 0; i < count; i++) {
    bool missing_q, missing_p;
    Value z = value_number(atoms[i]); /* known while the graph is built: `z == 0 ? a : b` is a alone */
    Value log_q = distribution_field(e, pair->q, "log_pdf", &z, &pair->shape, span, &missing_q);
    Value log_p = distribution_field(e, pair->p, "log_pdf", &z, &pair->shape, span, &missing_p);
    if (missing_q || missing_p || log_q.kind == VALUE_ERROR || log_p.kind == VALUE_ERROR) return false;
    Value own = apply1(e, IR_exp, log_q, span), possible = apply2(e, IR_less, value_number(0), own, span);
    Value ratio = closed_entropy ? apply1(e, IR_neg, log_p, span) : apply2(e, IR_sub, log_q, log_p, span);
    Value term = apply3(e, IR_select, possible, apply2(e, IR_mul, own, ratio, span), value_number(0), span);
    *mass = apply2(e, IR_add, *mass, own, span);
    *sum = apply2(e, IR_add, *sum, term, span);
  }
  return count >= 0;
}
