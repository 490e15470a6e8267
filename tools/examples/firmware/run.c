/* Runs a model from what "onnxq firmware" writes: graph.json and constants.bin.
 *
 *     cc -O2 -o run run.c -lm
 *     ./run FOLDER INPUT.bin... OUTPUT.bin...
 * A number is a 64-bit cell here, whatever its type (a float is its 32 bits), and nothing is freed:
 * that is short to read, and neither small nor fast. For little-endian machines. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AXES = 8, MANY = 64 };
typedef int64_t Cell;
typedef struct { const char *type; int rank; Cell dim[AXES], size, *at; } Value;
typedef struct { const char *operator, *attributes; int inputs; Value *in[MANY], *out; } Node;

static void fail(const char *a, const char *b) { fprintf(stderr, "%s: %.60s\n", a, b), exit(1); }

/* ---- JSON: p points to the beginning of a value ---- */
static const char *inside(const char *p) { return p + 1 + strspn(p + 1, " \n"); }
static const char *behind(const char *p)
{
    for (int depth = 0, quoted = 0; depth || quoted || !strchr(",:]}", *p); p++) {
        if (*p == '"') quoted = !quoted;
        else if (quoted) p += *p == '\\';
        else depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
    }
    return *p == ',' || *p == ':' ? inside(p) : p;
}

static int is(const char *p, const char *text)
{
    return !strncmp(p + 1, text, strlen(text)) && p[strlen(text) + 1] == '"';
}

static const char *member(const char *object, const char *key)
{
    const char *p = inside(object);
    while (*p != '}' && !is(p, key)) p = behind(behind(p));
    return *p == '}' ? NULL : behind(p);
}

static int numbers(const char *object, const char *key, Cell *to, int most)
{
    const char *p = member(object, key);
    int n = 0;
    for (p = p ? inside(p) : "]"; *p != ']'; p = behind(p)) {
        if (n == most) fail("too many numbers", p);
        to[n++] = strtoll(p, NULL, 10);
    }
    return n;
}

static Cell number(const char *object, const char *key)
{
    const char *p = member(object, key);
    return p ? strtoll(p, NULL, 10) : 0;
}

/* ---- Numbers of a type, and where they lie ---- */
static int bits(const char *type) { return is(type, "bool") ? 8 : atoi(strpbrk(type, "123468")); }
static Cell low_bits(Cell x, const char *type)
{
    int drop = 64 - bits(type);
    uint64_t up = (uint64_t)x << drop;
    return type[1] == 'i' ? (Cell)up >> drop : (Cell)(up >> drop);
}

static float as_float(Cell cell) { float x; memcpy(&x, &cell, 4); return x; }
static Cell as_cell(float x) { Cell cell = 0; memcpy(&cell, &x, 4); return cell; }

/* Allocates a value of the shape in a list of JSON. */
static void shape(Value *v, const char *object, const char *key)
{
    v->rank = numbers(object, key, v->dim, AXES);
    v->size = 1;
    for (int k = 0; k < v->rank; k++) v->size *= v->dim[k];
    if (!(v->at = calloc((size_t)v->size + 1, sizeof *v->at))) fail("no memory", key);
}

/* Sets how far v's numbers lie apart along the axes of a shape that it broadcasts to. */
static void spread(const Value *v, const Value *shape, Cell *step)
{
    Cell apart = 1;
    for (int axis = shape->rank - 1, own = v->rank - 1; axis >= 0; axis--, own--) {
        step[axis] = own < 0 || v->dim[own] == 1 ? 0 : apart;
        apart *= own < 0 ? 1 : v->dim[own];
    }
}

/* Returns where the i-th number of a shape lies. */
static Cell place(Cell i, const Value *shape, const Cell *step)
{
    Cell at = 0;
    for (int k = shape->rank - 1; k >= 0; i /= shape->dim[k--]) at += i % shape->dim[k] * step[k];
    return at;
}

/* ---- Operators: each function returns 0 for nodes that it does not know ---- */
static Cell saturated(float x, const char *type)
{
    float least = type[1] == 'i' ? -ldexpf(1, bits(type) - 1) : 0;
    return (Cell)fminf(fmaxf(x, least), least + ldexpf(1, bits(type)) - 1);
}

static Cell computed(int which, Cell a, Cell b, Cell c, const char *type)
{
    switch (which) {
    case 0: return a;
    case 1: return a + b;
    case 2: return a - b;
    case 3: return a * b;
    case 4: return a / b;
    case 5: return a < b ? a : b;
    case 6: return a > b ? a : b;
    case 7: return a < b ? b : a > c ? c : a;
    case 8: return a >= b;
    case 9: return (Cell)((uint64_t)a >> b);
    case 10: return saturated(nearbyintf(as_float(a) / as_float(b)) + (float)c, type);
    default: return as_cell((float)(a - c) * as_float(b));
    }
}

static int elementwise(const Node *n)
{
    static const char *const names[] = {
        "Cast", "Add", "Sub", "Mul", "Div", "Min", "Max", "Clip", "GreaterOrEqual", "BitShift",
        "QuantizeLinear", "DequantizeLinear"};
    const char *direction = member(n->attributes, "direction"), *type = n->out->type;
    Cell step[3][AXES], x[3] = {0};
    int which = 0, real = n->in[0]->type[1] == 'f' || type[1] == 'f';
    while (which < 12 && !is(n->operator, names[which])) which++;
    if (which == 12 || (which < 10 && real) || (direction && !is(direction, "RIGHT"))) return 0;
    for (int k = 0; k < n->inputs; k++) if (n->in[k]) spread(n->in[k], n->out, step[k]);
    for (Cell i = 0; i < n->out->size; i++) {
        for (int k = 0; k < n->inputs; k++)
            if (n->in[k]) x[k] = n->in[k]->at[place(i, n->out, step[k])];
        n->out->at[i] = low_bits(computed(which, x[0], x[1], x[2], type), type);
    }
    return 1;
}

static int move(const Node *n) /* Transpose, Slice, Reshape, Gather, Resize and all alike */
{
    const char *p = n->attributes;
    Cell over[AXES], index_over[AXES], offset = number(p, "offset");
    Cell step = number(p, "index_step"), depth = number(p, "depth");
    if (!member(p, "offset")) return 0;
    numbers(p, "x_over", over, AXES), numbers(p, "index_over", index_over, AXES);
    for (Cell i = 0; i < n->out->size; i++) {
        Cell index = step ? n->in[1]->at[place(i, n->out, index_over)] : 0;
        if (index < 0) index += depth;
        n->out->at[i] = n->in[0]->at[offset + place(i, n->out, over) + index * step];
    }
    return 1;
}

static int scatter(const Node *n) /* Concat and Pad */
{
    Cell over[AXES], offsets[MANY];
    int parts = numbers(n->attributes, "offsets", offsets, MANY), pad = is(n->operator, "Pad");
    numbers(n->attributes, "y_over", over, AXES);
    for (Cell i = 0; pad && parts && i < n->out->size; i++) n->out->at[i] = n->in[1]->at[0];
    for (int k = 0; k < parts; k++)
        for (Cell i = 0; i < n->in[k]->size; i++)
            n->out->at[offsets[k] + place(i, n->in[k], over)] = n->in[k]->at[i];
    return parts;
}

static int loops(const Node *n) /* sums of products, and comparisons */
{
    const char *p = n->attributes;
    int sum = is(n->operator, "ReduceSum"), least = is(n->operator, "ReduceMin");
    Value over, x_taps, w_taps;
    Cell x_over[AXES], x_tap[AXES], w_over[AXES], w_tap[AXES] = {0}, zero_over[AXES];
    if (!member(p, "taps")) return 0;
    shape(&over, p, "over"), shape(&x_taps, p, "taps"), shape(&w_taps, p, "taps");
    numbers(p, "x_over", x_over, AXES), numbers(p, "x_taps", x_tap, AXES);
    int product = numbers(p, "w_over", w_over, AXES) && numbers(p, "w_taps", w_tap, AXES);
    numbers(p, "zero_over", zero_over, AXES);
    for (Cell t = 0; t < x_taps.size; t++) x_taps.at[t] = place(t, &x_taps, x_tap);
    for (Cell t = 0; t < x_taps.size; t++) w_taps.at[t] = place(t, &w_taps, w_tap);
    for (Cell i = 0; i < over.size; i++) {
        const Cell *x = n->in[0]->at + place(i, &over, x_over);
        const Cell *w = product ? n->in[1]->at + place(i, &over, w_over) : NULL;
        Cell x_zero = w && n->in[2] ? n->in[2]->at[0] : 0, y = w || sum ? 0 : *x;
        Cell w_zero = w && n->in[3] ? n->in[3]->at[place(i, &over, zero_over)] : 0;
        for (Cell t = 0; t < x_taps.size; t++) {
            Cell read = x[x_taps.at[t]] - x_zero;
            if (w) y += read * (w[w_taps.at[t]] - w_zero);
            else y = sum ? y + read : computed(least ? 5 : 6, y, read, 0, NULL);
        }
        n->out->at[i] = y;
    }
    return 1;
}

static char *content(const char *folder, const char *name)
{
    char path[4096], *found;
    snprintf(path, sizeof path, "%s%s", folder, name);
    FILE *file = fopen(path, "rb");
    size_t size = file && !fseek(file, 0, SEEK_END) ? (size_t)ftell(file) : 0;
    if (file) rewind(file);
    if (!(found = calloc(size + 1, 1)) || !file || fread(found, 1, size, file) != size)
        fail("cannot be read", path);
    return found;
}

static void load(Value *v, const char *from)
{
    for (Cell i = 0, width = bits(v->type) / 8; i < v->size; i++) {
        memcpy(&v->at[i], from + i * width, (size_t)width);
        v->at[i] = low_bits(v->at[i], v->type);
    }
}

int main(int arguments, char **argument)
{
    Cell in[MANY], out[MANY];
    if (arguments < 2) fail("give FOLDER INPUT.bin... OUTPUT.bin...", argument[0]);
    const char *graph = content(argument[1], "/graph.json"), *p;
    const char *constants = content(argument[1], "/constants.bin");
    Value *values = calloc(strlen(graph) / 8, sizeof *values), *v = values;
    for (p = inside(member(graph, "values")); *p != ']'; p = behind(p), v++) {
        v->type = member(p, "dtype");
        shape(v, p, "shape");
        if (member(p, "role")) load(v, constants + number(p, "offset"));
    }
    int inputs = numbers(graph, "inputs", in, MANY), outputs = numbers(graph, "outputs", out, MANY);
    if (arguments != 2 + inputs + outputs) fail("wrong number of files", argument[1]);
    for (int k = 0; k < inputs; k++) load(&values[in[k]], content("", argument[2 + k]));
    for (p = inside(member(graph, "nodes")); *p != ']'; p = behind(p)) {
        Node n = {member(p, "operator"), member(p, "attributes"), 0, {0}, values};
        n.inputs = numbers(p, "inputs", in, MANY);
        for (int k = 0; k < n.inputs; k++) n.in[k] = in[k] < 0 ? NULL : &values[in[k]];
        numbers(p, "outputs", in, MANY);
        n.out += in[0];
        if (!(elementwise(&n) || move(&n) || scatter(&n) || loops(&n))) fail("unknown", n.operator);
    }
    for (int k = 0; k < outputs; k++) {
        FILE *file = fopen(argument[2 + inputs + k], "wb");
        v = &values[out[k]];
        size_t width = (size_t)bits(v->type) / 8;
        for (Cell i = 0; file && i < v->size; i++) fwrite(&v->at[i], width, 1, file);
        if (!file || fclose(file)) fail("cannot be written", argument[2 + inputs + k]);
    }
    return 0;
}
