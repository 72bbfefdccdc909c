/* Loops that are alike: functions whose texts differ in names and numbers alone are written once, and what differs of
 * the numbers becomes arguments. The model is rendered twice: the first time every loop is noted here, the second time
 * it is known which of them have company. */
#include <ctype.h>
#include <string.h>

#include "emit_internal.h"

typedef struct Form {   /* of the loops that are alike */
  const char *key;      /* the text with numbers and the model's names taken out */
  const char ***values; /* of each loop, of each number in order */
  int loops, numbers;
  const char *name; /* once it is written */
  const char *more; /* behind the names of arguments */
} Form;

struct LoopForms {
  Form *forms;
  int count;
};

/* --- names -------------------------------------------------------------------------------------------------------- */

static size_t slot_of(const NameTable *table, Name name) {
  size_t slot = (size_t)(uintptr_t)name / 8 % table->size;
  while (table->indices[slot] > 0 && table->names[table->indices[slot] - 1] != name) slot = (slot + 1) % table->size;
  return slot;
}

NameTable name_table(Compilation *c, const Name *names, int count) {
  NameTable table = {.names = names, .size = 2 * (size_t)count + 3};
  table.indices = arena_array(c, int, (int)table.size);
  for (int i = 0; i < count; i++) table.indices[slot_of(&table, names[i])] = i + 1;
  return table;
}

int name_index(const NameTable *table, Name name) { return table->indices[slot_of(table, name)] - 1; }

/* --- reading a function's text ------------------------------------------------------------------------------------ */

static bool is_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

size_t text_word_length(const char *at) {
  size_t length = 0;
  while (is_word(at[length])) length++;
  return length;
}

/* Does the word mean the same in every function? */
static bool is_fixed(const char *text, const char *at, size_t length) {
  static const char *const words[] = {"real", "const", "long", "for", "restrict", "rows", "block", "end", "i", "SPM_K"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strlen(words[i]) == length && strncmp(at, words[i], length) == 0) return true;
  if (isdigit((unsigned char)at[0])) return true;
  if (at[0] == 'i' && strspn(at + 1, "0123456789") == length - 1) return true;
  if (strncmp(at, "term_", 5) == 0 && strspn(at + 5, "0123456789") == length - 5) return true;
  return strncmp(at, "vm_", 3) == 0 || strncmp(at, "sp_", 3) == 0 ||
         (at - text >= 6 && strncmp(at - 6, "SPM_K(", 6) == 0);
}

size_t text_number_length(const char *at) {
  size_t length = strncmp(at, "(real)", 6) == 0 ? 6 : 0;
  const bool negative = length && at[length] == '(' && at[length + 1] == '-';
  if (negative) length += 2;
  if (!isdigit((unsigned char)at[length])) return 0;
  for (bool exponent = false; is_word(at[length]) || at[length] == '.' || exponent; length++)
    exponent = at[length] == 'e' && (at[length + 1] == '-' || at[length + 1] == '+');
  if (negative && at[length] != ')') return 0;
  return length + negative;
}

/* Length of a number that may become an argument; 0: there is none. How long a block of terms is stays a constant, so
 * that no array's length is known only when it runs. */
static size_t argument_length(const char *text, const char *at) {
  if (at > text && is_word(at[-1])) return 0;
  if (at > text && at[-1] == '[') {
    const char *word = at - 1;
    while (word > text && is_word(word[-1])) word--;
    if (strncmp(word, "term_", 5) == 0) return 0;
  }
  return text_number_length(at);
}

typedef struct Reading {
  Text key;
  const char **numbers;
  int number_count;
  const char **names;
  int name_count;
} Reading;

static int name_number(Compilation *c, Reading *r, const char *name) {
  for (int i = 0; i < r->name_count; i++)
    if (strcmp(r->names[i], name) == 0) return i;
  r->names = arena_grow(c, r->names, r->name_count, sizeof *r->names);
  r->names[r->name_count] = name;
  return r->name_count++;
}

static Reading read_function(Compilation *c, const char *text) {
  Reading r = {.key = {.compilation = c}};
  for (const char *at = text; *at != '\0';) {
    size_t length = argument_length(text, at);
    if (length > 0) {
      r.numbers = arena_grow(c, r.numbers, r.number_count, sizeof *r.numbers);
      r.numbers[r.number_count++] = arena_printf(c, "%.*s", (int)length, at);
      text_append(&r.key, "%s#", *at == '(' ? "(real)" : "");
    } else if ((length = text_word_length(at)) == 0) {
      if (!isspace((unsigned char)*at)) text_append(&r.key, "%c", *at); /* where lines end is no difference */
      length = 1;
    } else if (is_fixed(text, at, length)) {
      text_append(&r.key, "%.*s ", (int)length, at);
    } else {
      text_append(&r.key, "@%d ", name_number(c, &r, arena_printf(c, "%.*s", (int)length, at)));
    }
    at += length;
  }
  return r;
}

/* --- forms -------------------------------------------------------------------------------------------------------- */

static Form *find_form(struct LoopForms *forms, const char *key) {
  for (int i = 0; forms && i < forms->count; i++)
    if (strcmp(forms->forms[i].key, key) == 0) return &forms->forms[i];
  return NULL;
}

struct LoopForms *loop_forms_create(Compilation *c) {
  return arena_new(c, struct LoopForms);
}

void loop_forms_note(Compilation *c, struct LoopForms *forms, const char *text) {
  Reading r = read_function(c, text);
  Form *form = find_form(forms, r.key.bytes);
  if (!form) {
    forms->forms = arena_grow(c, forms->forms, forms->count, sizeof *forms->forms);
    form = &forms->forms[forms->count++];
    *form = (Form){.key = r.key.bytes, .numbers = r.number_count};
  }
  form->values = arena_grow(c, form->values, form->loops, sizeof *form->values);
  form->values[form->loops++] = r.numbers;
}

/* Two numbers that are the same in each loop are one argument. */
static int first_like(const Form *form, int number) {
  for (int other = 0; other < number; other++) {
    bool same = true;
    for (int l = 0; l < form->loops && same; l++) same = strcmp(form->values[l][other], form->values[l][number]) == 0;
    if (same) return other;
  }
  return number;
}

static bool differs(const Form *form, int number) {
  for (int l = 1; l < form->loops; l++)
    if (strcmp(form->values[0][number], form->values[l][number]) != 0) return true;
  return false;
}

/* "n", "n2", "c": the argument in the number's place, or "n_" and so on where the loop has such a name itself; NULL: it
 * is the same in all loops. */
static const char *argument_name(Compilation *c, const Form *form, int number) {
  const int first = first_like(form, number);
  const bool real = form->values[0][number][0] == '(';
  int before = 0;
  if (!differs(form, number)) return NULL;
  for (int i = 0; i < first; i++)
    before += differs(form, i) && first_like(form, i) == i && (form->values[0][i][0] == '(') == real;
  const char *count = before ? arena_printf(c, "%d", before + 1) : "";
  return arena_printf(c, "%s%s%s", real ? "c" : "n", count, form->more);
}

static bool is_like_argument(const char *name) {
  return (name[0] == 'c' || name[0] == 'n') && strspn(name + 1, "0123456789") == strlen(name + 1);
}

/* The text with arguments in the place of numbers that differ. */
static const char *shared_text(Compilation *c, const Form *form, const char *text) {
  Text out = {.compilation = c};
  int number = 0;
  for (int i = 0; i < form->numbers; i++)
    if (differs(form, i) && first_like(form, i) == i)
      text_append(&out, "%s %s, ", form->values[0][i][0] == '(' ? "real" : "long", argument_name(c, form, i));
  for (const char *at = text; *at != '\0';) {
    size_t length = argument_length(text, at);
    const char *argument = length > 0 ? argument_name(c, form, number++) : NULL;
    if (length == 0) length = text_word_length(at) > 0 ? text_word_length(at) : 1;
    text_append(&out, "%.*s", argument ? (int)strlen(argument) : (int)length, argument ? argument : at);
    at += length;
  }
  return out.bytes;
}

const char *loop_forms_call(Emitter *e, const char *text, const char **name, const char **shared, const char *fresh) {
  Compilation *c = e->compilation;
  Reading r = read_function(c, text);
  Form *form = find_form(e->forms, r.key.bytes);
  Text arguments = {.compilation = c};
  *shared = NULL;
  if (e->noting || !form || form->loops < 2) {
    *name = fresh;
    *shared = text;
    return "";
  }
  if (!form->name) {
    form->name = fresh;
    form->more = "";
    for (int i = 0; i < r.name_count; i++)
      if (is_like_argument(r.names[i])) form->more = "_"; /* no name that stands for a value ends like this */
    *shared = shared_text(c, form, text);
  }
  *name = form->name;
  for (int i = 0; i < form->numbers; i++)
    if (differs(form, i) && first_like(form, i) == i) text_append(&arguments, "%s, ", r.numbers[i]);
  return arguments.bytes ? arguments.bytes : "";
}
