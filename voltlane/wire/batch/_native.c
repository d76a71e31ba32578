/* The loops of the data path in C: the same functions as in plain.py, whose docstrings say what they do and whose
 * results these are held equal to by tests/wire/test_batch.py. They work on buffers, allocate only what they return (and
 * a table for the length of one call), and keep no state. The interpreter's lock is held throughout: a call takes
 * microseconds.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum { PREFIX = 4, TAG = 9, HEADER = PREFIX + TAG };

static uint32_t get32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get64(const unsigned char *p)
{
    return (uint64_t)get32(p) | (uint64_t)get32(p + 4) << 32;
}

static void put32(unsigned char *p, uint32_t v)
{
    p[0] = (unsigned char)v;
    p[1] = (unsigned char)(v >> 8);
    p[2] = (unsigned char)(v >> 16);
    p[3] = (unsigned char)(v >> 24);
}

static void put64(unsigned char *p, uint64_t v)
{
    put32(p, (uint32_t)v);
    put32(p + 4, (uint32_t)(v >> 32));
}

/* A memory area of the caller's; 0 <= start <= stop <= length is made sure of here, once. */
static int area(PyObject *object, Py_ssize_t start, Py_ssize_t stop, Py_buffer *buffer)
{
    if (PyObject_GetBuffer(object, buffer, PyBUF_SIMPLE) < 0)
        return -1;
    if (start < 0 || stop < start || stop > buffer->len) {
        PyBuffer_Release(buffer);
        PyErr_SetString(PyExc_ValueError, "start and stop must lie in the buffer, in this order");
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(retag_doc, "retag(buffer, start, stop, client_id, most): see plain.retag.");

static PyObject *retag(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    if (nargs != 5) {
        PyErr_SetString(PyExc_TypeError, "retag takes 5 arguments");
        return NULL;
    }
    Py_ssize_t start = PyLong_AsSsize_t(args[1]), stop = PyLong_AsSsize_t(args[2]);
    unsigned long long client_id = PyLong_AsUnsignedLongLong(args[3]);
    unsigned long most = PyLong_AsUnsignedLong(args[4]);
    Py_buffer buffer;
    if (PyErr_Occurred() || area(args[0], start, stop, &buffer) < 0)
        return NULL;
    const unsigned char *begin = (const unsigned char *)buffer.buf + start, *p = begin;
    size_t left = (size_t)(stop - start);
    Py_ssize_t count = 0;
    while (left >= PREFIX) {
        uint32_t size = get32(p);
        if (size > most || left - PREFIX < size)
            break;
        p += PREFIX + (size_t)size;
        left -= PREFIX + (size_t)size;
        count++;
    }
    Py_ssize_t taken = (Py_ssize_t)(p - begin);
    PyObject *chunk = PyBytes_FromStringAndSize(NULL, taken + count * TAG);
    if (chunk) {
        unsigned char *to = (unsigned char *)PyBytes_AS_STRING(chunk);
        const unsigned char *end = p;
        for (p = begin; p < end;) {
            uint32_t size = get32(p);
            put32(to, size + TAG);
            put64(to + PREFIX, client_id);
            to[HEADER - 1] = 0;
            memcpy(to + HEADER, p + PREFIX, size);
            p += PREFIX + (size_t)size;
            to += HEADER + (size_t)size;
        }
    }
    PyBuffer_Release(&buffer);
    return chunk ? Py_BuildValue("Nnn", chunk, start + taken, count) : NULL;
}

/* One client's share of a batch. */
typedef struct {
    uint64_t id;
    Py_ssize_t size;            /* bytes of its frames */
    PyObject *chunk;
    unsigned char *to;
} share;

/* The shares in order of first appearance, and an open-addressing index over them (0: free, n: share n - 1). */
typedef struct {
    share *shares;
    uint32_t *index;
    size_t count, slots;        /* slots is a power of two, at least twice count */
} table;

static size_t slot_of(const table *t, uint64_t id)
{
    size_t slot = (size_t)((id * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (t->slots - 1);
    while (t->index[slot] && t->shares[t->index[slot] - 1].id != id)
        slot = (slot + 1) & (t->slots - 1);
    return slot;
}

static int grow(table *t)
{
    size_t slots = t->slots ? t->slots * 4 : 64;
    share *shares = PyMem_Realloc(t->shares, slots / 2 * sizeof *shares);
    if (!shares)
        return -1;
    t->shares = shares;
    uint32_t *index = PyMem_Calloc(slots, sizeof *index);
    if (!index)
        return -1;
    PyMem_Free(t->index);
    t->index = index;
    t->slots = slots;
    for (size_t i = 0; i < t->count; i++)
        index[slot_of(t, t->shares[i].id)] = (uint32_t)(i + 1);
    return 0;
}

static share *share_of(table *t, uint64_t id)
{
    size_t slot = slot_of(t, id);
    if (!t->index[slot]) {
        if ((t->count + 1) * 2 > t->slots) {
            if (grow(t) < 0)
                return NULL;
            slot = slot_of(t, id);
        }
        t->shares[t->count] = (share){.id = id};
        t->index[slot] = (uint32_t)++t->count;
    }
    return &t->shares[t->index[slot] - 1];
}

/* {client id: chunk}, the chunks allocated and still empty. */
static PyObject *empty_chunks(table *t)
{
    PyObject *chunks = PyDict_New();
    for (size_t i = 0; chunks && i < t->count; i++) {
        share *s = &t->shares[i];
        PyObject *key = PyLong_FromUnsignedLongLong(s->id);
        s->chunk = PyBytes_FromStringAndSize(NULL, s->size);
        if (!key || !s->chunk || PyDict_SetItem(chunks, key, s->chunk) < 0)
            Py_CLEAR(chunks);
        else
            s->to = (unsigned char *)PyBytes_AS_STRING(s->chunk);
        Py_XDECREF(key);
        Py_XDECREF(s->chunk);   /* the dict's reference keeps it */
    }
    return chunks;
}

PyDoc_STRVAR(group_doc, "group(buffer, start, stop, most, wanted=0): see plain.group.");

static PyObject *group(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    if (nargs != 4 && nargs != 5) {
        PyErr_SetString(PyExc_TypeError, "group takes 4 or 5 arguments");
        return NULL;
    }
    Py_ssize_t start = PyLong_AsSsize_t(args[1]), stop = PyLong_AsSsize_t(args[2]);
    unsigned long most = PyLong_AsUnsignedLong(args[3]), wanted = nargs == 5 ? PyLong_AsUnsignedLong(args[4]) : 0;
    Py_buffer buffer;
    if (PyErr_Occurred() || area(args[0], start, stop, &buffer) < 0)
        return NULL;
    table t = {0};
    PyObject *chunks = NULL;
    const unsigned char *begin = (const unsigned char *)buffer.buf + start, *p = begin;
    size_t left = (size_t)(stop - start);
    Py_ssize_t count = 0;
    if (grow(&t) < 0)
        goto no_memory;
    while (left >= HEADER) {
        uint32_t size = get32(p);
        if (size < TAG || size > most || left - PREFIX < size || p[HEADER - 1] != wanted)
            break;
        share *s = share_of(&t, get64(p + PREFIX));
        if (!s)
            goto no_memory;
        s->size += (Py_ssize_t)size - TAG + PREFIX;
        p += PREFIX + (size_t)size;
        left -= PREFIX + (size_t)size;
        count++;
    }
    chunks = empty_chunks(&t);
    if (chunks) {
        const unsigned char *end = p;
        for (p = begin; p < end;) {
            uint32_t size = get32(p);
            share *s = &t.shares[t.index[slot_of(&t, get64(p + PREFIX))] - 1];
            put32(s->to, size - TAG);
            memcpy(s->to + PREFIX, p + HEADER, size - TAG);
            s->to += PREFIX + (size_t)size - TAG;
            p += PREFIX + (size_t)size;
        }
    }
    goto done;
no_memory:
    PyErr_NoMemory();
done:
    PyMem_Free(t.shares);
    PyMem_Free(t.index);
    PyBuffer_Release(&buffer);
    return chunks ? Py_BuildValue("Nnn", chunks, start + (Py_ssize_t)(p - begin), count) : NULL;
}

/* ---- WebSocket */

enum { KEY = 4, MASKED = 0x80, MOST_7 = 125, SIZE_16 = 126, SIZE_64 = 127, WHOLE_BINARY = 0x82 };

/* Two keys at once, so that the compiler makes as much of it as the machine has. */
static void mask_into(unsigned char *restrict to, const unsigned char *restrict from, size_t size,
                      const unsigned char *key)
{
    uint64_t keys, part;
    memcpy(&keys, key, KEY);
    memcpy((unsigned char *)&keys + KEY, key, KEY);
    size_t i = 0;
    for (; i + 32 <= size; i += 32) {
        uint64_t parts[4];
        memcpy(parts, from + i, 32);
        for (int n = 0; n < 4; n++)
            parts[n] ^= keys;
        memcpy(to + i, parts, 32);
    }
    for (; i + 8 <= size; i += 8) {
        memcpy(&part, from + i, 8);
        part ^= keys;
        memcpy(to + i, &part, 8);
    }
    for (; i < size; i++)
        to[i] = from[i] ^ key[i % KEY];
}

PyDoc_STRVAR(mask_doc, "mask(data, key): see plain.mask.");

static PyObject *mask(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "mask takes 2 arguments");
        return NULL;
    }
    Py_buffer data, key;
    if (PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0)
        return NULL;
    if (PyObject_GetBuffer(args[1], &key, PyBUF_SIMPLE) < 0) {
        PyBuffer_Release(&data);
        return NULL;
    }
    PyObject *masked = NULL;
    if (key.len != KEY)
        PyErr_SetString(PyExc_ValueError, "a key has 4 bytes");
    else if ((masked = PyBytes_FromStringAndSize(NULL, data.len)) != NULL)
        mask_into((unsigned char *)PyBytes_AS_STRING(masked), data.buf, (size_t)data.len, key.buf);
    PyBuffer_Release(&key);
    PyBuffer_Release(&data);
    return masked;
}

/* The bytes in front of a simple message's payload, the key included, and its size; 0 where it is none, or not whole. */
static size_t simple(const unsigned char *p, size_t left, unsigned char first, unsigned long most, uint32_t *size)
{
    size_t head = 2 + KEY;
    if (left < head || p[0] != first || !(p[1] & MASKED))
        return 0;
    *size = p[1] & ~MASKED;
    if (*size == SIZE_64)
        return 0;
    if (*size == SIZE_16) {
        *size = (uint32_t)p[2] << 8 | p[3];
        head += 2;
        if (*size <= MOST_7)
            return 0;
    }
    return *size > most || left < head + *size ? 0 : head;
}

/* With a tag, of `client_id`, between size and payload, or without. */
static PyObject *unmasked(PyObject *object, Py_ssize_t start, Py_ssize_t stop, unsigned char first, unsigned long most,
                          size_t tag, uint64_t client_id)
{
    Py_buffer buffer;
    if (PyErr_Occurred() || area(object, start, stop, &buffer) < 0)
        return NULL;
    const unsigned char *begin = (const unsigned char *)buffer.buf + start, *p = begin;
    size_t left = (size_t)(stop - start), total = 0, head;
    uint32_t size = 0;
    Py_ssize_t count = 0;
    while ((head = simple(p, left, first, most, &size)) != 0) {
        p += head + size;
        left -= head + size;
        total += PREFIX + tag + size;
        count++;
    }
    Py_ssize_t taken = (Py_ssize_t)(p - begin);
    PyObject *chunk = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)total);
    if (chunk) {
        unsigned char *to = (unsigned char *)PyBytes_AS_STRING(chunk);
        const unsigned char *end = p;
        for (p = begin; p < end; p += size) {
            size = p[1] & ~MASKED;
            p += 2 + KEY;
            if (size == SIZE_16) {
                size = (uint32_t)p[-KEY] << 8 | p[1 - KEY];
                p += 2;
            }
            put32(to, size + (uint32_t)tag);
            if (tag) {
                put64(to + PREFIX, client_id);
                to[HEADER - 1] = 0;
            }
            mask_into(to + PREFIX + tag, p, size, p - KEY);
            to += PREFIX + tag + size;
        }
    }
    PyBuffer_Release(&buffer);
    return chunk ? Py_BuildValue("Nnn", chunk, start + taken, count) : NULL;
}

PyDoc_STRVAR(unmask_doc, "unmask(buffer, start, stop, first, most): see plain.unmask.");

static PyObject *unmask(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    if (nargs != 5) {
        PyErr_SetString(PyExc_TypeError, "unmask takes 5 arguments");
        return NULL;
    }
    Py_ssize_t start = PyLong_AsSsize_t(args[1]), stop = PyLong_AsSsize_t(args[2]);
    unsigned long first = PyLong_AsUnsignedLong(args[3]), most = PyLong_AsUnsignedLong(args[4]);
    return unmasked(args[0], start, stop, (unsigned char)first, most, 0, 0);
}

PyDoc_STRVAR(retag_masked_doc, "retag_masked(buffer, start, stop, client_id, most): see plain.retag_masked.");

static PyObject *retag_masked(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    if (nargs != 5) {
        PyErr_SetString(PyExc_TypeError, "retag_masked takes 5 arguments");
        return NULL;
    }
    Py_ssize_t start = PyLong_AsSsize_t(args[1]), stop = PyLong_AsSsize_t(args[2]);
    unsigned long long client_id = PyLong_AsUnsignedLongLong(args[3]);
    unsigned long most = PyLong_AsUnsignedLong(args[4]);
    return unmasked(args[0], start, stop, WHOLE_BINARY, most, TAG, client_id);
}

static size_t server_head_size(uint32_t size)
{
    return size <= MOST_7 ? 2 : size <= 0xFFFF ? 4 : 10;
}

PyDoc_STRVAR(frame_doc, "frame(chunk, first): see plain.frame.");

static PyObject *frame(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "frame takes 2 arguments");
        return NULL;
    }
    unsigned long first = PyLong_AsUnsignedLong(args[1]);
    Py_buffer chunk;
    if (PyErr_Occurred() || PyObject_GetBuffer(args[0], &chunk, PyBUF_SIMPLE) < 0)
        return NULL;
    const unsigned char *p = chunk.buf;
    size_t left = (size_t)chunk.len, total = 0;
    while (left >= PREFIX && left - PREFIX >= get32(p)) {
        uint32_t size = get32(p);
        total += server_head_size(size) + size;
        p += PREFIX + (size_t)size;
        left -= PREFIX + (size_t)size;
    }
    PyObject *frames = NULL;
    if (left)
        PyErr_SetString(PyExc_ValueError, "a chunk holds whole messages");
    else if ((frames = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)total)) != NULL) {
        unsigned char *to = (unsigned char *)PyBytes_AS_STRING(frames);
        const unsigned char *end = p;
        for (p = chunk.buf; p < end;) {
            uint32_t size = get32(p);
            size_t head = server_head_size(size);
            to[0] = (unsigned char)first;
            if (head == 2) {
                to[1] = (unsigned char)size;
            } else {
                to[1] = head == 4 ? SIZE_16 : SIZE_64;
                uint64_t rest = size;
                for (size_t at = head; at > 2; rest >>= 8)
                    to[--at] = (unsigned char)rest;
            }
            memcpy(to + head, p + PREFIX, size);
            to += head + size;
            p += PREFIX + (size_t)size;
        }
    }
    PyBuffer_Release(&chunk);
    return frames;
}

static PyMethodDef methods[] = {
    {"retag", (PyCFunction)(void (*)(void))retag, METH_FASTCALL, retag_doc},
    {"group", (PyCFunction)(void (*)(void))group, METH_FASTCALL, group_doc},
    {"frame", (PyCFunction)(void (*)(void))frame, METH_FASTCALL, frame_doc},
    {"mask", (PyCFunction)(void (*)(void))mask, METH_FASTCALL, mask_doc},
    {"retag_masked", (PyCFunction)(void (*)(void))retag_masked, METH_FASTCALL, retag_masked_doc},
    {"unmask", (PyCFunction)(void (*)(void))unmask, METH_FASTCALL, unmask_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_native", .m_doc = "The loops of plain.py, in C.", .m_methods = methods};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModule_Create(&definition);
}
