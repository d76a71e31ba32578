/* Peers: see plain.py. */
#include "_native.h"

static int peer_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *words[] = {"name", "client_id", "now", NULL};
    const char *name;
    Py_ssize_t size;
    PyObject *client_id, *now;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y#OO:Peer", words, &name, &size, &client_id, &now))
        return -1;
    if (size < 1 || size > NAME) {
        PyErr_SetString(PyExc_ValueError, "that is no name");
        return -1;
    }
    party *p = (party *)self;
    if (party_begin(p, client_id, now) < 0)
        return -1;
    memcpy(p->key, name, (size_t)size);
    p->key_size = (unsigned char)size;
    return 0;
}

static PyObject *get_name(PyObject *self, void *nothing)
{
    (void)nothing;
    party *p = (party *)self;
    return PyBytes_FromStringAndSize((const char *)p->key, p->key_size);
}

static PyGetSetDef peer_fields[] = {{"name", get_name, NULL, NULL, NULL}, {0}};

PyTypeObject peer_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "voltlane.net.udp._native.Peer",
    .tp_basicsize = sizeof(party),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_base = &party_type,
    .tp_new = PyType_GenericNew,
    .tp_init = peer_init,
    .tp_getset = peer_fields,
};

static PyObject *peers_add(PyObject *self, PyObject *one)
{
    return table_add(self, one, &peer_type);
}

static int add_stranger(receiving *r, const arrival *one)
{
    if (PyList_GET_SIZE(r->found) >= STRANGERS) {
        r->into->drops[TOO_STRANGE]++;
        return 0;
    }
    PyObject *pair = Py_BuildValue("y#y#", one->name, (Py_ssize_t)one->name_size, one->data, (Py_ssize_t)one->size);
    int result = pair ? PyList_Append(r->found, pair) : -1;
    Py_XDECREF(pair);
    return result;
}

static int take_one(receiving *r, const arrival *one)
{
    table *t = r->into;
    size_t size = one->size;
    if (size > r->limit) {
        t->drops[TOO_LARGE]++;
        return 0;
    }
    party *p = table_find(t, one->name, one->name_size);
    if (!p)
        return add_stranger(r, one);
    p->heard = r->now;
    if ((t->packet_rate > 0 || t->byte_rate > 0) && !within(t, p, size, r->now)) {
        t->drops[RATE]++;
        return 0;
    }
    p->packets_in++;
    p->bytes_in += size;
    return receive_packet(r, p, one->data, size);
}

static PyObject *peers_receive(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    return receive_all((table *)self, args, nargs, take_one, received_type);
}

/* One chunk into the batch, which is sent whenever it is full. 1, 0 when the socket takes no more, -1 with an error. */
static int send_chunk(table *t, int fd, party *p, Py_ssize_t index, Py_ssize_t offset, const Py_buffer *from,
                      size_t limit)
{
    batch *b = &t->out;
    const unsigned char *begin = from->buf, *end = begin + from->len;
    const unsigned char *at = offset < from->len ? begin + offset : end;
    while (at < end) {
        if (end - at < PREFIX || (size_t)(end - at) - PREFIX < get32(at)) {
            PyErr_SetString(PyExc_ValueError, "a chunk holds whole frames");
            return -1;
        }
        uint32_t size = get32(at);
        if (size > limit) { /* counted when what is in front of it is out: else it would be met, and counted, again */
            if (!batch_flush(t, fd, 0))
                return 0;
            t->drops[TOO_LARGE]++;
            at += PREFIX + (size_t)size;
            continue;
        }
        unsigned run = t->segments > 0 ? run_of(at, end, size, 0) : 1;
        if ((b->count == BATCH || b->piece + run > PIECES) && !batch_flush(t, fd, 0))
            return 0;
        batch_add(b, p, index, at - begin, p->key, p->key_size);
        if (run > 1)
            batch_segmented(b, size);
        for (; run; run--) {
            uint32_t next = get32(at);
            batch_segment(b, at + PREFIX, next, next);
            at += PREFIX + (size_t)next;
        }
    }
    return 1;
}

static PyObject *peers_send(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    table *t = (table *)self;
    if (nargs != 5)
        return PyErr_Format(PyExc_TypeError, "send takes 5 arguments: sock, queue, first, offset, limit");
    Py_ssize_t first = PyLong_AsSsize_t(args[2]), offset = PyLong_AsSsize_t(args[3]);
    size_t limit = PyLong_AsSize_t(args[4]);
    if (PyErr_Occurred())
        return NULL;
    if (first < 0 || offset < 0)
        return PyErr_Format(PyExc_ValueError, "nothing is in front of the queue");
    int fd = send_begin(t, args, &peer_type), going = 1;
    if (fd < 0)
        return NULL;
    PyObject *queue = args[1];
    for (Py_ssize_t index = first; going > 0 && index < PyList_GET_SIZE(queue); index++, offset = 0) {
        going = send_next(t, PyList_GET_ITEM(queue, index), &peer_type, fd, 0);
        if (going > 0) {
            unsigned last = t->chunks.count - 1;
            going = send_chunk(t, fd, (party *)t->chunks.owners[last], index, offset, &t->chunks.buffers[last], limit);
        }
    }
    if (going > 0)
        batch_flush(t, fd, 0);
    return send_end(t, going, PyList_GET_SIZE(queue));
}

static PyMethodDef peers_methods[] = {
    {"add", peers_add, METH_O, NULL},
    {"receive", (PyCFunction)(void (*)(void))peers_receive, METH_FASTCALL, NULL},
    {"send", (PyCFunction)(void (*)(void))peers_send, METH_FASTCALL, NULL},
    {0},
};

PyTypeObject peers_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "voltlane.net.udp._native.Peers",
    .tp_basicsize = sizeof(table),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_base = &table_type,
    .tp_methods = peers_methods,
};
