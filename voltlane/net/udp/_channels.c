/* Channels of sealed datagrams: see sealed.py. */
#include "_native.h"
#include <math.h>

enum { HEAD = 16, INNER = 5, SEAL = 16, AROUND = HEAD + INNER + SEAL, KEY = 32, ID = 8, WINDOW = 1024, DATA = 0 };
enum { STATE = 9 * 8 + 2 * 8 + WINDOW / 8 };

#define TICKS 8000.0
#define ECHO_SECS 1.0
#define MOST_TICKS 64000

typedef struct {
    party p;
    unsigned char key_in[KEY], key_out[KEY], id_out[ID];
    unsigned char path_size, path[NAME];
    uint64_t next_number, highest, received, late, repeated; /* highest counts from received 1 on */
    double rtt, jitter, peer_at;                             /* NaN: not known */
    uint32_t peer_time, transit;                             /* transit above 65535: not known */
    uint64_t seen[WINDOW / 64];                              /* of the last so many numbers, by number % WINDOW */
} channel;

typedef int (*sealing)(unsigned char *, unsigned long long *, const unsigned char *, unsigned long long,
                       const unsigned char *, unsigned long long, const unsigned char *, const unsigned char *,
                       const unsigned char *);
typedef int (*opening)(unsigned char *, unsigned long long *, unsigned char *, const unsigned char *,
                       unsigned long long, const unsigned char *, unsigned long long, const unsigned char *,
                       const unsigned char *);

static sealing sodium_seal;
static opening sodium_open;

void use_sodium(void *seal, void *open)
{
    memcpy(&sodium_seal, &seal, sizeof seal);
    memcpy(&sodium_open, &open, sizeof open);
}

/* ---- one channel */

static int take_key(PyObject *keys, Py_ssize_t n, unsigned char *to, Py_ssize_t size)
{
    PyObject *key = PyTuple_GET_ITEM(keys, n);
    if (!PyBytes_Check(key) || PyBytes_GET_SIZE(key) != size) {
        PyErr_Format(PyExc_ValueError, "an id has %d bytes, a key %d", ID, KEY);
        return -1;
    }
    memcpy(to, PyBytes_AS_STRING(key), (size_t)size);
    return 0;
}

static int channel_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"keys", "client_id", "now", NULL};
    PyObject *keys, *client_id, *now;
    if (!sodium_seal || !sodium_open) {
        PyErr_SetString(PyExc_RuntimeError, "nobody has said where libsodium is");
        return -1;
    }
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO:Channel", words, &keys, &client_id, &now))
        return -1;
    if (!PyTuple_Check(keys) || PyTuple_GET_SIZE(keys) != 4) {
        PyErr_SetString(PyExc_TypeError, "keys are those of one end: id_in, key_in, id_out, key_out");
        return -1;
    }
    channel *c = (channel *)self;
    if (party_begin(&c->p, client_id, now) < 0 || take_key(keys, 0, c->p.key, ID) < 0 ||
        take_key(keys, 1, c->key_in, KEY) < 0 || take_key(keys, 2, c->id_out, ID) < 0 ||
        take_key(keys, 3, c->key_out, KEY) < 0)
        return -1;
    c->p.key_size = ID;
    c->rtt = c->jitter = c->peer_at = (double)NAN;
    c->transit = UINT32_MAX;
    return 0;
}

static void channel_dealloc(PyObject *self)
{
    channel *c = (channel *)self;
    volatile unsigned char *secret_bytes = c->key_in; /* both keys stand together */
    for (size_t n = 0; n < 2 * KEY; n++)
        secret_bytes[n] = 0;
    Py_TYPE(self)->tp_free(self);
}

static uint32_t ticks(double now)
{
    return (uint32_t)((uint64_t)(now * TICKS) & 0xFFFF);
}

static uint32_t echo_of(const channel *c, double now)
{
    if (isnan(c->peer_at) || now < c->peer_at || now - c->peer_at > ECHO_SECS)
        return 0;
    uint32_t echo = (uint32_t)((int64_t)c->peer_time + (int64_t)((now - c->peer_at) * TICKS)) & 0xFFFF;
    return echo ? echo : 1;
}

/* The next datagram at `to`, where there is room for it; its size. */
static size_t seal(channel *c, unsigned char *to, unsigned char kind, uint32_t time, uint32_t echo, const void *body,
                   size_t size)
{
    unsigned char nonce[12] = {0};
    memcpy(to, c->id_out, ID);
    put64(to + ID, c->next_number);
    put64(nonce + 4, c->next_number++);
    to[HEAD] = kind;
    put16(to + HEAD + 1, time);
    put16(to + HEAD + 3, echo);
    memcpy(to + HEAD + INNER, body, size);
    sodium_seal(to + HEAD, NULL, to + HEAD, INNER + size, to, HEAD, NULL, nonce, c->key_out);
    return AROUND + size;
}

static int has_come(const channel *c, uint64_t number)
{
    return c->seen[number % WINDOW / 64] >> (number % 64) & 1;
}

/* Why a datagram with that number is not even opened; DROPS: it is. */
static enum drop judge(channel *c, uint64_t number)
{
    if (!c->received || number > c->highest)
        return DROPS;
    if (c->highest - number >= WINDOW)
        return LATE;
    if (!has_come(c, number))
        return DROPS;
    c->repeated++;
    return REPLAYED;
}

static void move_window(channel *c, uint64_t number)
{
    uint64_t ahead = c->received ? number - c->highest : WINDOW;
    if (ahead >= WINDOW)
        memset(c->seen, 0, sizeof c->seen);
    else
        for (uint64_t n = number - ahead + 1; n != number; n++)
            c->seen[n % WINDOW / 64] &= ~(UINT64_C(1) << (n % 64));
    c->highest = number;
}

/* Take notice of one that opened. Whether its number is the highest. */
static int take_notice(channel *c, uint64_t number, uint32_t time, uint32_t echo, double now)
{
    int newest = !c->received || number > c->highest;
    c->p.heard = now;
    if (newest) {
        move_window(c, number);
        c->peer_time = time;
        c->peer_at = now;
    } else
        c->late++;
    c->seen[number % WINDOW / 64] |= UINT64_C(1) << (number % 64);
    c->received++;
    if (echo) {
        uint32_t passed = (ticks(now) - echo) & 0xFFFF;
        double trip = passed <= MOST_TICKS ? (double)passed / TICKS : 0.0; /* clocks do not run alike */
        c->rtt = isnan(c->rtt) ? trip : c->rtt + (trip - c->rtt) / 8;
    }
    uint32_t transit = (ticks(now) - time) & 0xFFFF;
    if (c->transit <= 0xFFFF) {
        uint32_t change = (transit - c->transit) & 0xFFFF;
        double jitter = isnan(c->jitter) ? 0.0 : c->jitter;
        change = change < 0x10000 - change ? change : 0x10000 - change;
        c->jitter = jitter + ((double)change / TICKS - jitter) / 16;
    }
    c->transit = transit;
    return newest;
}

static PyObject *channel_seal(PyObject *self, PyObject *args)
{
    channel *c = (channel *)self;
    unsigned char kind, *sealed;
    Py_buffer body;
    double now;
    if (!PyArg_ParseTuple(args, "by*d:seal", &kind, &body, &now))
        return NULL;
    PyObject *datagram = PyBytes_FromStringAndSize(NULL, AROUND + body.len);
    if (datagram) {
        sealed = (unsigned char *)PyBytes_AS_STRING(datagram);
        seal(c, sealed, kind, ticks(now), echo_of(c, now), body.buf, (size_t)body.len);
    }
    PyBuffer_Release(&body);
    return datagram;
}

static PyObject *channel_export(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    channel *c = (channel *)self;
    PyObject *state = PyBytes_FromStringAndSize(NULL, STATE);
    if (!state)
        return NULL;
    unsigned char *to = (unsigned char *)PyBytes_AS_STRING(state);
    uint64_t words[11] = {c->next_number, c->highest, c->received, c->late, c->repeated, c->p.packets_in,
                          c->p.bytes_in, c->p.packets_out, c->p.bytes_out};
    memcpy(&words[9], &c->rtt, 8);
    memcpy(&words[10], &c->jitter, 8);
    for (size_t n = 0; n < 11; n++, to += 8)
        put64(to, words[n]);
    memset(to, 0, WINDOW / 8);
    for (uint64_t behind = 0; c->received && behind < WINDOW && behind <= c->highest; behind++)
        if (!has_come(c, c->highest - behind))
            to[behind / 8] |= (unsigned char)(1 << behind % 8);
    return state;
}

static PyObject *channel_restore(PyObject *self, PyObject *state)
{
    channel *c = (channel *)self;
    if (!PyBytes_Check(state) || PyBytes_GET_SIZE(state) != STATE)
        return PyErr_Format(PyExc_ValueError, "the state of a channel has %d bytes, not %zd", STATE,
                            PyBytes_Check(state) ? PyBytes_GET_SIZE(state) : 0);
    const unsigned char *from = (const unsigned char *)PyBytes_AS_STRING(state), *gaps = from + 88;
    uint64_t rtt = get64(from + 72), jitter = get64(from + 80);
    uint64_t *counts[] = {&c->next_number, &c->highest, &c->received, &c->late, &c->repeated, &c->p.packets_in,
                          &c->p.bytes_in, &c->p.packets_out, &c->p.bytes_out};
    for (size_t n = 0; n < 9; n++)
        *counts[n] = get64(from + 8 * n);
    memcpy(&c->rtt, &rtt, 8);
    memcpy(&c->jitter, &jitter, 8);
    memset(c->seen, 0, sizeof c->seen);
    for (uint64_t behind = 0; c->received && behind < WINDOW && behind <= c->highest; behind++)
        if (!(gaps[behind / 8] >> behind % 8 & 1)) {
            uint64_t number = c->highest - behind;
            c->seen[number % WINDOW / 64] |= UINT64_C(1) << (number % 64);
        }
    c->peer_at = (double)NAN;
    c->transit = UINT32_MAX;
    Py_RETURN_NONE;
}

static PyObject *get_id(PyObject *self, void *nothing)
{
    (void)nothing;
    return PyBytes_FromStringAndSize((const char *)((channel *)self)->p.key, ID);
}

static PyObject *get_path(PyObject *self, void *nothing)
{
    (void)nothing;
    channel *c = (channel *)self;
    if (!c->path_size)
        Py_RETURN_NONE;
    return PyBytes_FromStringAndSize((const char *)c->path, c->path_size);
}

static int set_path(PyObject *self, PyObject *value, void *nothing)
{
    (void)nothing;
    channel *c = (channel *)self;
    if (value == Py_None) {
        c->path_size = 0;
        return 0;
    }
    if (!value || !PyBytes_Check(value) || PyBytes_GET_SIZE(value) < 1 || PyBytes_GET_SIZE(value) > NAME) {
        PyErr_SetString(PyExc_ValueError, "a path is a name, or None");
        return -1;
    }
    c->path_size = (unsigned char)PyBytes_GET_SIZE(value);
    memcpy(c->path, PyBytes_AS_STRING(value), c->path_size);
    return 0;
}

static PyObject *get_number(PyObject *self, void *offset)
{
    return PyLong_FromUnsignedLongLong(*(uint64_t *)((char *)self + (size_t)offset));
}

static PyObject *get_highest(PyObject *self, void *nothing)
{
    (void)nothing;
    channel *c = (channel *)self;
    return c->received ? PyLong_FromUnsignedLongLong(c->highest) : PyLong_FromLong(-1);
}

static PyObject *get_seconds(PyObject *self, void *offset)
{
    double seconds = *(double *)((char *)self + (size_t)offset);
    if (isnan(seconds))
        Py_RETURN_NONE;
    return PyFloat_FromDouble(seconds);
}

static PyGetSetDef channel_fields[] = {
    {"id", get_id, NULL, NULL, NULL},
    {"path", get_path, set_path, NULL, NULL},
    {"highest", get_highest, NULL, NULL, NULL},
    {"next_number", get_number, NULL, NULL, (void *)offsetof(channel, next_number)},
    {"received", get_number, NULL, NULL, (void *)offsetof(channel, received)},
    {"late", get_number, NULL, NULL, (void *)offsetof(channel, late)},
    {"repeated", get_number, NULL, NULL, (void *)offsetof(channel, repeated)},
    {"rtt", get_seconds, NULL, NULL, (void *)offsetof(channel, rtt)},
    {"jitter", get_seconds, NULL, NULL, (void *)offsetof(channel, jitter)},
    {0},
};

static PyMethodDef channel_methods[] = {
    {"seal", channel_seal, METH_VARARGS, NULL},
    {"export", channel_export, METH_NOARGS, NULL},
    {"restore", channel_restore, METH_O, NULL},
    {0},
};

PyTypeObject channel_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "voltlane.net.udp._native.Channel",
    .tp_basicsize = sizeof(channel),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_base = &party_type,
    .tp_new = PyType_GenericNew,
    .tp_init = channel_init,
    .tp_dealloc = channel_dealloc,
    .tp_getset = channel_fields,
    .tp_methods = channel_methods,
};

/* ---- all of a socket */

static PyObject *channels_add(PyObject *self, PyObject *one)
{
    return table_add(self, one, &channel_type);
}

static int add_event(receiving *r, channel *c, const arrival *one, int newest)
{
    const unsigned char *plain = one->data + HEAD;
    PyObject *event = Py_BuildValue("Oiy#y#Oi", c, plain[0], one->name, (Py_ssize_t)one->name_size, plain + INNER,
                                    (Py_ssize_t)(one->size - AROUND), newest ? Py_True : Py_False, (int)one->size);
    int result = event ? PyList_Append(r->found, event) : -1;
    Py_XDECREF(event);
    return result;
}

/* What opened, of that channel; 0, or -1 with an error. */
static int take_opened(receiving *r, channel *c, const arrival *one, int newest)
{
    table *t = r->into;
    const unsigned char *plain = one->data + HEAD;
    size_t body = one->size - AROUND;
    if ((t->packet_rate > 0 || t->byte_rate > 0) && !within(t, &c->p, body, r->now)) {
        t->drops[RATE]++;
        return 0;
    }
    int elsewhere = one->name_size != c->path_size || memcmp(one->name, c->path, one->name_size);
    if ((plain[0] != DATA || elsewhere) && add_event(r, c, one, newest) < 0)
        return -1;
    if (plain[0] != DATA)
        return 0;
    c->p.packets_in++;
    c->p.bytes_in += body;
    if (r->flag < 0) {
        t->drops[NOT_WANTED]++;
        return 0;
    }
    return receive_packet(r, &c->p, plain + INNER, body);
}

static int take_one(receiving *r, const arrival *one)
{
    table *t = r->into;
    unsigned char *data = one->data, nonce[12] = {0};
    size_t size = one->size;
    if (size < AROUND || size > r->limit) {
        t->drops[size < AROUND ? SHORT : TOO_LARGE]++;
        return 0;
    }
    channel *c = (channel *)table_find(t, data, ID);
    if (!c) {
        t->drops[UNKNOWN_ID]++;
        return 0;
    }
    uint64_t number = get64(data + ID);
    enum drop why = judge(c, number);
    if (why != DROPS) {
        t->drops[why]++;
        return 0;
    }
    memcpy(nonce + 4, data + ID, 8);
    if (sodium_open(data + HEAD, NULL, NULL, data + HEAD, size - HEAD, data, HEAD, nonce, c->key_in)) {
        t->drops[UNSEALED]++;
        return 0;
    }
    const unsigned char *plain = data + HEAD;
    int newest = take_notice(c, number, plain[1] | (uint32_t)plain[2] << 8, plain[3] | (uint32_t)plain[4] << 8, r->now);
    Py_INCREF(c); /* making an event may run anything */
    int result = take_opened(r, c, one, newest);
    Py_DECREF(c);
    return result;
}

static PyObject *channels_receive(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return receive_all((table *)self, args, nargs, take_one, opened_type);
}

/* Send the batch; where the socket takes no more, the numbers of what it has not taken are given back: nobody saw it. */
static int flush(table *t, int fd)
{
    batch *b = &t->out;
    if (batch_flush(t, fd, AROUND))
        return 1;
    for (unsigned n = b->unsent; n < b->count; n++)
        ((channel *)b->about[n].owner)->next_number -= b->about[n].segments;
    return 0;
}

static int send_chunk(table *t, int fd, channel *c, Py_ssize_t index, Py_ssize_t offset, const Py_buffer *from,
                      size_t limit, double now, size_t *used)
{
    batch *b = &t->out;
    const unsigned char *begin = from->buf, *end = begin + from->len;
    const unsigned char *at = offset < from->len ? begin + offset : end;
    uint32_t time = ticks(now), echo = echo_of(c, now);
    while (at < end) {
        if (end - at < PREFIX || (size_t)(end - at) - PREFIX < get32(at)) {
            PyErr_SetString(PyExc_ValueError, "a chunk holds whole frames");
            return -1;
        }
        uint32_t size = get32(at);
        if (!c->path_size || (size_t)size + AROUND > limit) { /* counted when what is in front of it is out */
            if (!flush(t, fd))
                return 0;
            *used = 0;
            t->drops[c->path_size ? TOO_LARGE : NO_PATH]++;
            at += PREFIX + (size_t)size;
            continue;
        }
        unsigned run = t->segments > 0 ? run_of(at, end, size, AROUND) : 1;
        if (b->count == BATCH || b->piece + run > PIECES || *used + run * (AROUND + (size_t)size) > t->sealed_room) {
            if (!flush(t, fd))
                return 0;
            *used = 0;
        }
        batch_add(b, &c->p, index, at - begin, c->path, c->path_size);
        if (run > 1)
            batch_segmented(b, AROUND + size);
        for (; run; run--) {
            uint32_t next = get32(at);
            unsigned char *to = t->sealed + *used;
            size_t sealed = seal(c, to, DATA, time, echo, at + PREFIX, next);
            batch_segment(b, to, sealed, next);
            *used += sealed;
            at += PREFIX + (size_t)next;
        }
    }
    return 1;
}

static PyObject *channels_send(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    table *t = (table *)self;
    if (nargs != 6)
        return PyErr_Format(PyExc_TypeError, "send takes 6 arguments: sock, queue, first, offset, limit, now");
    Py_ssize_t first = PyLong_AsSsize_t(args[2]), offset = PyLong_AsSsize_t(args[3]);
    size_t limit = PyLong_AsSize_t(args[4]), used = 0, room = SEGMENTED + 65536;
    double now = PyErr_Occurred() ? 0.0 : PyFloat_AsDouble(args[5]);
    if (PyErr_Occurred())
        return NULL;
    if (first < 0 || offset < 0 || limit > 65535)
        return PyErr_Format(PyExc_ValueError, "nothing is in front of the queue, and a limit is at most 65535");
    if (!t->sealed) {
        if (!(t->sealed = PyMem_Malloc(room)))
            return PyErr_NoMemory();
        t->sealed_room = room;
    }
    int fd = send_begin(t, args, &channel_type), going = 1;
    if (fd < 0)
        return NULL;
    PyObject *queue = args[1];
    for (Py_ssize_t index = first; going > 0 && index < PyList_GET_SIZE(queue); index++, offset = 0) {
        if (t->chunks.count > BATCH) { /* what is next would have it sent */
            going = flush(t, fd);
            used = 0;
        }
        if (going > 0)
            going = send_next(t, PyList_GET_ITEM(queue, index), &channel_type, fd, AROUND);
        if (going > 0) {
            unsigned last = t->chunks.count - 1;
            going = send_chunk(t, fd, (channel *)t->chunks.owners[last], index, offset, &t->chunks.buffers[last],
                               limit, now, &used);
        }
    }
    if (going > 0)
        flush(t, fd);
    return send_end(t, going, PyList_GET_SIZE(queue));
}

static PyMethodDef channels_methods[] = {
    {"add", channels_add, METH_O, NULL},
    {"receive", (PyCFunction)(void (*)(void))channels_receive, METH_FASTCALL, NULL},
    {"send", (PyCFunction)(void (*)(void))channels_send, METH_FASTCALL, NULL},
    {0},
};

PyTypeObject channels_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "voltlane.net.udp._native.Channels",
    .tp_basicsize = sizeof(table),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_base = &table_type,
    .tp_methods = channels_methods,
};
