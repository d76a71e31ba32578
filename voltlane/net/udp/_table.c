/* Parties, and tables of them. */
#include "_native.h"
#include <math.h>

/* ---- parties */

static PyObject *get_count(PyObject *self, void *offset)
{
    return PyLong_FromUnsignedLongLong(*(uint64_t *)((char *)self + (size_t)offset));
}

static int set_count(PyObject *self, PyObject *value, void *offset)
{
    if (!value) {
        PyErr_SetString(PyExc_AttributeError, "a counter cannot be deleted");
        return -1;
    }
    unsigned long long count = PyLong_AsUnsignedLongLong(value);
    if (count == (unsigned long long)-1 && PyErr_Occurred())
        return -1;
    *(uint64_t *)((char *)self + (size_t)offset) = count;
    return 0;
}

static PyObject *get_heard(PyObject *self, void *nothing)
{
    (void)nothing;
    return PyFloat_FromDouble(((party *)self)->heard);
}

static int set_heard(PyObject *self, PyObject *value, void *nothing)
{
    (void)nothing;
    if (!value) {
        PyErr_SetString(PyExc_AttributeError, "heard cannot be deleted");
        return -1;
    }
    double heard = PyFloat_AsDouble(value);
    if (PyErr_Occurred())
        return -1;
    ((party *)self)->heard = heard;
    return 0;
}

#define COUNT(field) {#field, get_count, set_count, NULL, (void *)offsetof(party, field)}

static PyGetSetDef party_fields[] = {
    {"client_id", get_count, NULL, NULL, (void *)offsetof(party, client_id)},
    {"heard", get_heard, set_heard, NULL, NULL},
    COUNT(packets_in),
    COUNT(bytes_in),
    COUNT(packets_out),
    COUNT(bytes_out),
    {0},
};

PyTypeObject party_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "voltlane.net.udp._native.Party",
    .tp_basicsize = sizeof(party),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_getset = party_fields,
};

int party_begin(party *self, PyObject *client_id, PyObject *now)
{
    uint64_t id = PyLong_AsUnsignedLongLong(client_id);
    double heard = PyErr_Occurred() ? 0.0 : PyFloat_AsDouble(now); /* which may run anything */
    if (PyErr_Occurred())
        return -1;
    if (self->tables) {
        PyErr_SetString(PyExc_RuntimeError, "it is in a table");
        return -1;
    }
    self->client_id = id;
    self->heard = heard;
    self->tokens_at = (double)NAN;
    return 0;
}

int within(const table *t, party *p, size_t size, double now)
{
    double packets = t->packet_burst, bytes = t->byte_burst;
    if (!isnan(p->tokens_at)) {
        double passed = now - p->tokens_at, more = p->packets_left + passed * t->packet_rate;
        packets = more < packets ? more : packets;
        more = p->bytes_left + passed * t->byte_rate;
        bytes = more < bytes ? more : bytes;
    }
    int good = (packets > 0 || t->packet_rate == 0) && (bytes > 0 || t->byte_rate == 0);
    p->tokens_at = now;
    p->packets_left = packets - good;
    p->bytes_left = bytes - (good ? (double)size : 0.0);
    return good;
}

/* ---- tables */

static uint64_t folded(uint64_t a, uint64_t b)
{
#ifdef __SIZEOF_INT128__
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
#else
    uint64_t low = (a & UINT32_MAX) * b, high = (a >> 32) * b;
    return low ^ high ^ (low >> 32) ^ (high << 32);
#endif
}

/* With a secret: who can choose addresses must not choose where they stand. */
static size_t hash(const unsigned char *key, size_t size)
{
    uint64_t found = secret[0] ^ size;
    unsigned char rest[8] = {0};
    for (; size >= 8; key += 8, size -= 8)
        found = folded(found ^ get64(key), secret[1]);
    memcpy(rest, key, size);
    return (size_t)folded(found ^ get64(rest), secret[1]);
}

static int is_at(const party *p, const unsigned char *key, size_t size)
{
    return p->key_size == size && !memcmp(p->key, key, size);
}

static size_t slot_of(const table *t, const unsigned char *key, size_t size)
{
    size_t slot = hash(key, size) & (t->slots - 1);
    while (t->at[slot] && !is_at(t->at[slot], key, size))
        slot = (slot + 1) & (t->slots - 1);
    return slot;
}

static int resize(table *t, size_t slots)
{
    party **before = t->at, **at = PyMem_Calloc(slots, sizeof *at);
    size_t slots_before = t->slots;
    if (!at) {
        PyErr_NoMemory();
        return -1;
    }
    t->at = at;
    t->slots = slots;
    for (size_t n = 0; n < slots_before; n++)
        if (before[n])
            at[slot_of(t, before[n]->key, before[n]->key_size)] = before[n];
    PyMem_Free(before);
    return 0;
}

static PyObject *table_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    if (PyTuple_GET_SIZE(args) || (kwargs && PyDict_GET_SIZE(kwargs)))
        return PyErr_Format(PyExc_TypeError, "%s takes no arguments", type->tp_name);
    table *self = (table *)type->tp_alloc(type, 0);
    if (self) {
        self->segments = -1;
        self->joined = 1;
    }
    return (PyObject *)self;
}

static int table_traverse(PyObject *self, visitproc visit, void *arg)
{
    table *t = (table *)self;
    for (size_t n = 0; n < t->slots; n++)
        Py_VISIT(t->at[n]);
    return 0;
}

static int table_clear(PyObject *self)
{
    table *t = (table *)self;
    party **at = t->at;
    size_t slots = t->slots;
    t->at = NULL;
    t->slots = t->count = 0;
    for (size_t n = 0; n < slots; n++)
        if (at[n]) {
            at[n]->tables--;
            Py_DECREF(at[n]);
        }
    PyMem_Free(at);
    return 0;
}

static void table_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    table_clear(self);
    PyMem_Free(((table *)self)->in.bytes);
    PyMem_Free(((table *)self)->sealed);
    Py_TYPE(self)->tp_free(self);
}

static Py_ssize_t table_length(PyObject *self)
{
    return (Py_ssize_t)((table *)self)->count;
}

party *table_find(const table *t, const unsigned char *key, size_t size)
{
    return t->slots ? t->at[slot_of(t, key, size)] : NULL;
}

PyObject *table_add(PyObject *self, PyObject *one, PyTypeObject *type)
{
    table *t = (table *)self;
    if (!PyObject_TypeCheck(one, type))
        return PyErr_Format(PyExc_TypeError, "a %s is needed, not a %s", type->tp_name, Py_TYPE(one)->tp_name);
    party *p = (party *)one;
    if (!p->key_size)
        return PyErr_Format(PyExc_ValueError, "it was not initialized");
    if (table_find(t, p->key, p->key_size))
        return PyErr_Format(PyExc_ValueError, type == &peer_type ? "there is a peer of that name"
                                                               : "there is a channel of that id");
    if ((t->count + 1) * 2 > t->slots && resize(t, t->slots ? 2 * t->slots : 16) < 0)
        return NULL;
    Py_INCREF(p);
    p->tables++;
    t->at[slot_of(t, p->key, p->key_size)] = p;
    t->count++;
    Py_RETURN_NONE;
}

/* Without a mark of what was there: whoever stands behind moves up, if that is nearer to where it belongs. */
static void empty(table *t, size_t slot)
{
    size_t mask = t->slots - 1, next = slot;
    for (;;) {
        next = (next + 1) & mask;
        if (!t->at[next])
            break;
        size_t home = hash(t->at[next]->key, t->at[next]->key_size) & mask;
        if (((next - home) & mask) >= ((next - slot) & mask)) {
            t->at[slot] = t->at[next];
            slot = next;
        }
    }
    t->at[slot] = NULL;
}

static PyObject *table_remove(PyObject *self, PyObject *one)
{
    table *t = (table *)self;
    party *p = (party *)one;
    if (!t->slots || !PyObject_TypeCheck(one, &party_type))
        Py_RETURN_NONE;
    size_t slot = slot_of(t, p->key, p->key_size);
    if (t->at[slot] == p) {
        empty(t, slot);
        t->count--;
        p->tables--;
        Py_DECREF(p);
        if (t->slots > 64 && t->count * 8 < t->slots && resize(t, t->slots / 2) < 0)
            PyErr_Clear(); /* it is larger than it need be */
    }
    Py_RETURN_NONE;
}

static PyObject *table_get(PyObject *self, PyObject *key)
{
    party *found = NULL;
    if (PyBytes_Check(key))
        found = table_find((table *)self, (const unsigned char *)PyBytes_AS_STRING(key), (size_t)PyBytes_GET_SIZE(key));
    PyObject *result = found ? (PyObject *)found : Py_None;
    Py_INCREF(result);
    return result;
}

static PyObject *table_set_rates(PyObject *self, PyObject *args)
{
    table *t = (table *)self;
    double packets, bytes, secs;
    if (!PyArg_ParseTuple(args, "ddd:set_rates", &packets, &bytes, &secs))
        return NULL;
    t->packet_rate = packets;
    t->byte_rate = bytes;
    t->packet_burst = packets * secs;
    t->byte_burst = bytes * secs;
    Py_RETURN_NONE;
}

static PyObject *table_sweep(PyObject *self, PyObject *args)
{
    table *t = (table *)self;
    Py_ssize_t slot, slots;
    if (!PyArg_ParseTuple(args, "nn:sweep", &slot, &slots))
        return NULL;
    if (slot < 0 || slots < 1)
        return PyErr_Format(PyExc_ValueError, "slot is at least 0, slots at least 1");
    PyObject *found = PyList_New(0);
    size_t n = (size_t)slot;
    for (; found && n < t->slots && PyList_GET_SIZE(found) < slots; n++)
        if (t->at[n] && PyList_Append(found, (PyObject *)t->at[n]) < 0)
            Py_CLEAR(found);
    return found ? Py_BuildValue("Nn", found, n < t->slots ? (Py_ssize_t)n : 0) : NULL;
}

static PyObject *table_take_drops(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    table *t = (table *)self;
    PyObject *found = PyDict_New();
    for (size_t n = 0; found && n < DROPS; n++)
        if (t->drops[n]) {
            PyObject *count = PyLong_FromUnsignedLongLong(t->drops[n]);
            if (!count || PyDict_SetItem(found, reasons[n], count) < 0)
                Py_CLEAR(found);
            else
                t->drops[n] = 0;
            Py_XDECREF(count);
        }
    return found;
}

static PyMethodDef table_methods[] = {
    {"remove", table_remove, METH_O, NULL},
    {"get", table_get, METH_O, NULL},
    {"set_rates", table_set_rates, METH_VARARGS, NULL},
    {"sweep", table_sweep, METH_VARARGS, NULL},
    {"take_drops", table_take_drops, METH_NOARGS, NULL},
    {0},
};

static PyObject *get_takes_apart(PyObject *self, void *nothing)
{
    (void)self;
    (void)nothing;
    Py_RETURN_TRUE;
}

static PyGetSetDef table_fields[] = {{"takes_apart", get_takes_apart, NULL, NULL, NULL}, {0}};

static PySequenceMethods table_sequence = {.sq_length = table_length};

PyTypeObject table_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "voltlane.net.udp._native.Table",
    .tp_basicsize = sizeof(table),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .tp_new = table_new,
    .tp_dealloc = table_dealloc,
    .tp_traverse = table_traverse,
    .tp_clear = table_clear,
    .tp_methods = table_methods,
    .tp_getset = table_fields,
    .tp_as_sequence = &table_sequence,
};
