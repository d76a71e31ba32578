/* What is told to the system a batch at a time. */
#include "_native.h"
#include <errno.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { JOINED = 65536 };

/* ---- in */

static void set_up(arena *in, size_t stride)
{
    for (size_t n = 0; n < ARRIVING; n++) {
        struct msghdr *message = &in->messages[n].msg_hdr;
        in->pieces[n].iov_base = in->bytes + n * stride;
        in->pieces[n].iov_len = in->room;
        message->msg_name = in->names[n];
        message->msg_namelen = NAME_ROOM;
        message->msg_iov = &in->pieces[n];
        message->msg_iovlen = 1;
        message->msg_control = in->controls[n].bytes;
        message->msg_controllen = CONTROL;
    }
}

/* Room for datagrams of at most `limit` bytes; where they may come joined, for the largest message there is. Asked each
 * time, for that may change, and a descriptor be another socket's. */
static int make_room(arena *in, int fd, size_t limit)
{
    int joined = 0;
    socklen_t length = sizeof joined;
    if (getsockopt(fd, IPPROTO_UDP, UDP_GRO, &joined, &length))
        joined = 0;
    size_t room = joined ? JOINED : limit + 1;
    if (room <= in->room)
        return 0;
    size_t stride = ((room + 63) & ~(size_t)63) + 192; /* no power of two: they would share a few lines of the cache */
    unsigned char *bytes = PyMem_Malloc(stride * ARRIVING);
    if (!bytes) {
        PyErr_NoMemory();
        return -1;
    }
    PyMem_Free(in->bytes);
    in->bytes = bytes;
    in->room = room;
    set_up(in, stride);
    return 0;
}

/* The size of the datagrams in message n. */
static size_t datagram_size(const arena *in, size_t n)
{
    struct msghdr *message = (struct msghdr *)&in->messages[n].msg_hdr;
    int size = 0;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head; head = CMSG_NXTHDR(message, head))
        if (head->cmsg_level == IPPROTO_UDP && head->cmsg_type == UDP_GRO && head->cmsg_len >= CMSG_LEN(sizeof size))
            memcpy(&size, CMSG_DATA(head), sizeof size);
    return size > 0 ? (size_t)size : in->messages[n].msg_len;
}

/* So many were received, and have been looked at. */
static void receive_again(table *t, unsigned got)
{
    for (unsigned n = 0; n < got; n++) {
        t->in.messages[n].msg_hdr.msg_namelen = NAME_ROOM;
        t->in.messages[n].msg_hdr.msg_controllen = CONTROL;
    }
}

static int receive_begin(receiving *r, PyObject *const *args, Py_ssize_t nargs, int *fd, size_t *most)
{
    if (nargs != 5) {
        PyErr_SetString(PyExc_TypeError, "receive takes 5 arguments: sock, now, most, flag, limit");
        return -1;
    }
    *fd = PyObject_AsFileDescriptor(args[0]);
    r->now = PyFloat_AsDouble(args[1]);
    *most = PyLong_AsSize_t(args[2]);
    r->flag = PyLong_AsLong(args[3]);
    r->limit = PyLong_AsSize_t(args[4]);
    if (PyErr_Occurred())
        return -1;
    if (r->flag > 255 || r->limit > 65535) {
        PyErr_SetString(PyExc_ValueError, "a flag is at most 255, a limit at most 65535");
        return -1;
    }
    if (r->into->busy) {
        PyErr_SetString(PyExc_RuntimeError, "it is receiving or sending already");
        return -1;
    }
    return make_room(&r->into->in, *fd, r->limit);
}

/* As many as there are, up to so many messages. */
static unsigned receive_some(table *t, int fd, unsigned most)
{
    int got;
    do
        got = recvmmsg(fd, t->in.messages, most, MSG_DONTWAIT, NULL);
    while (got < 0 && errno == EINTR);
    return got < 0 ? 0 : (unsigned)got;
}

static int chunk_begin(chunk *c, size_t room)
{
    c->size = 0;
    c->room = room < 512 ? 512 : room;
    c->bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)c->room);
    return c->bytes ? 0 : -1;
}

static int chunk_add(chunk *c, uint64_t client_id, unsigned char flag, const unsigned char *data, size_t size)
{
    if (c->room - c->size < HEADER + size) {
        size_t room = 2 * c->room + HEADER + size;
        if (_PyBytes_Resize(&c->bytes, (Py_ssize_t)room) < 0)
            return -1;
        c->room = room;
    }
    unsigned char *to = (unsigned char *)PyBytes_AS_STRING(c->bytes) + c->size;
    put32(to, (uint32_t)size + TAG);
    put64(to + PREFIX, client_id);
    to[HEADER - 1] = flag;
    memcpy(to + HEADER, data, size);
    c->size += HEADER + size;
    return 0;
}

static PyObject *chunk_end(chunk *c)
{
    if (_PyBytes_Resize(&c->bytes, (Py_ssize_t)c->size) < 0)
        return NULL;
    return c->bytes;
}

/* A packet for the master, of that party. */
int receive_packet(receiving *r, party *from, const unsigned char *data, size_t size)
{
    r->packets++;
    return chunk_add(&r->chunk, from->client_id, (unsigned char)r->flag, data, size);
}

/* All datagrams of message n. Whether there was no error; how many they were is added to `taken`. */
static int take_apart(receiving *r, size_t n, taking take, size_t *taken)
{
    arena *in = &r->into->in;
    size_t each = datagram_size(in, n), left = in->messages[n].msg_len;
    size_t name_size = in->messages[n].msg_hdr.msg_namelen;
    arrival one = {.data = in->pieces[n].iov_base, .name = in->names[n]};
    one.name_size = name_size < NAME_ROOM ? name_size : NAME_ROOM;
    do { /* an empty one is one, too */
        one.size = left < each ? left : each;
        if (take(r, &one) < 0)
            return 0;
        one.data += one.size;
        left -= one.size;
        ++*taken;
    } while (left);
    return 1;
}

/* How many messages to ask for, to have so many datagrams if they come as they did before. */
static unsigned messages_for(const table *t, size_t datagrams)
{
    size_t messages = (datagrams + t->joined - 1) / t->joined;
    return messages < ARRIVING ? (unsigned)messages : ARRIVING;
}

/* Receive a batch, as `receive` in Python, and let `take` say what becomes of each datagram. */
PyObject *receive_all(table *t, PyObject *const *args, Py_ssize_t nargs, taking take, PyObject *result_type)
{
    receiving r = {.into = t};
    int fd, more = 1;
    size_t most;
    if (receive_begin(&r, args, nargs, &fd, &most) < 0)
        return NULL;
    t->busy = 1; /* making a list may run anything */
    r.found = PyList_New(0);
    if (!r.found || chunk_begin(&r.chunk, t->last_chunk) < 0)
        goto failed;
    while (most && more && r.chunk.size < ENOUGH) {
        unsigned asked = messages_for(t, most), got = receive_some(t, fd, asked);
        size_t taken = 0;
        more = got == asked;
        for (size_t n = 0; n < got; n++)
            if (!take_apart(&r, n, take, &taken))
                goto failed;
        receive_again(t, got);
        most -= taken < most ? taken : most;
        if (got)
            t->joined = taken / got;
    }
    t->busy = 0;
    t->last_chunk = r.chunk.size;
    Py_ssize_t size = (Py_ssize_t)(r.chunk.size - r.packets * HEADER);
    if (chunk_end(&r.chunk))
        return PyObject_CallFunction(result_type, "NnnNO", r.chunk.bytes, (Py_ssize_t)r.packets, size, r.found,
                                     more ? Py_True : Py_False);
failed:
    t->busy = 0;
    t->in.room = 0; /* it is set up anew */
    Py_XDECREF(r.chunk.bytes);
    Py_XDECREF(r.found);
    return NULL;
}

/* ---- out */

/* How many datagrams from there on, the first of `size` bytes of data, the kernel may make of one message: all of one
 * size, but for a last one that may be shorter. */
unsigned run_of(const unsigned char *p, const unsigned char *end, uint32_t size, size_t around)
{
    unsigned count = 1;
    size_t total = size + around;
    if (!total)
        return 1;
    for (p += PREFIX + (size_t)size; count < SEGMENTS && end - p >= PREFIX; count++) {
        uint32_t next = get32(p);
        total += next + around;
        if (!(next + around) || next > size || total > SEGMENTED || (size_t)(end - p) - PREFIX < next)
            break;
        if (next < size)
            return count + 1;
        p += PREFIX + (size_t)next;
    }
    return count;
}

/* The socket's descriptor, or -1 with an error. The arguments begin with it, a queue, and where to begin there. */
int send_begin(table *t, PyObject *const *args, PyTypeObject *type)
{
    int fd = PyObject_AsFileDescriptor(args[0]);
    if (fd < 0)
        return -1;
    if (t->busy) {
        PyErr_SetString(PyExc_RuntimeError, "it is receiving or sending already");
        return -1;
    }
    if (!PyList_Check(args[1])) {
        PyErr_Format(PyExc_TypeError, "a queue is a list of pairs of a %s and a chunk", type->tp_name);
        return -1;
    }
    if (t->segments < 0) {
        int value;
        socklen_t size = sizeof value;
        t->segments = !getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &value, &size);
    }
    batch *b = &t->out;
    b->count = b->piece = 0;
    b->datagrams = b->size = 0;
    b->blocked = 0;
    t->busy = 1;
    return fd;
}

static void let_go(held *h)
{
    while (h->count) {
        h->count--;
        PyBuffer_Release(&h->buffers[h->count]);
        Py_DECREF(h->owners[h->count]);
    }
}

/* Take hold of what is next in the queue. 1, 0 when the socket takes no more, -1 with an error. */
int send_next(table *t, PyObject *pair, PyTypeObject *type, int fd, size_t around)
{
    held *h = &t->chunks;
    if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2 || !PyObject_TypeCheck(PyTuple_GET_ITEM(pair, 0), type)) {
        PyErr_Format(PyExc_TypeError, "a queue is a list of pairs of a %s and a chunk", type->tp_name);
        return -1;
    }
    if (h->count > BATCH && !batch_flush(t, fd, around))
        return 0;
    Py_INCREF(pair); /* what lets go of a buffer, or gives one, may empty the queue */
    if (h->count > BATCH)
        let_go(h);
    int got = PyObject_GetBuffer(PyTuple_GET_ITEM(pair, 1), &h->buffers[h->count], PyBUF_SIMPLE);
    if (got == 0) {
        h->owners[h->count] = PyTuple_GET_ITEM(pair, 0);
        Py_INCREF(h->owners[h->count]);
        h->count++;
    }
    Py_DECREF(pair);
    return got < 0 ? -1 : 1;
}

/* The next message of the batch, with no datagram in it yet. */
struct msghdr *batch_add(batch *b, party *owner, Py_ssize_t index, Py_ssize_t offset, const unsigned char *name,
                         size_t name_size)
{
    struct msghdr *message = &b->messages[b->count].msg_hdr;
    memset(message, 0, sizeof *message);
    message->msg_name = (void *)name;
    message->msg_namelen = (socklen_t)name_size;
    message->msg_iov = &b->pieces[b->piece];
    b->about[b->count++] = (outgoing){.owner = owner, .index = index, .offset = offset};
    return message;
}

/* One datagram more in the message that was added last; `counted` is its data. */
void batch_segment(batch *b, const void *data, size_t sent, size_t counted)
{
    b->pieces[b->piece].iov_base = (void *)data;
    b->pieces[b->piece++].iov_len = sent;
    b->messages[b->count - 1].msg_hdr.msg_iovlen++;
    b->about[b->count - 1].segments++;
    b->about[b->count - 1].size += counted;
}

/* Have the kernel take that message apart, into datagrams of so many bytes. */
void batch_segmented(batch *b, size_t each)
{
    struct msghdr *message = &b->messages[b->count - 1].msg_hdr;
    message->msg_control = b->controls[b->count - 1].bytes;
    message->msg_controllen = sizeof b->controls[0].bytes;
    struct cmsghdr *head = CMSG_FIRSTHDR(message);
    head->cmsg_level = IPPROTO_UDP;
    head->cmsg_type = UDP_SEGMENT;
    head->cmsg_len = CMSG_LEN(sizeof(uint16_t));
    uint16_t value = (uint16_t)each;
    memcpy(CMSG_DATA(head), &value, sizeof value);
}

static void sent(batch *b, outgoing *one, unsigned segments, size_t size)
{
    one->owner->packets_out += segments;
    one->owner->bytes_out += size;
    b->datagrams += segments;
    b->size += size;
}

/* Where it goes on, which is in front of that datagram. */
static int blocked(batch *b, const outgoing *one, Py_ssize_t offset)
{
    b->index = one->index;
    b->offset = offset;
    b->blocked = 1;
    return 0;
}

/* A message that the kernel would not take apart: on some ways out it cannot. */
static int one_by_one(table *t, batch *b, unsigned at, int fd, size_t around)
{
    struct msghdr whole = b->messages[at].msg_hdr, message = whole;
    outgoing *one = &b->about[at];
    Py_ssize_t offset = one->offset;
    message.msg_control = NULL;
    message.msg_controllen = 0;
    message.msg_iovlen = 1;
    while (one->segments) {
        size_t size = message.msg_iov->iov_len - around;
        if (sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            sent(b, one, 1, size);
        else if (errno == EINTR)
            continue;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            return blocked(b, one, offset);
        else
            t->drops[UNSENT]++;
        message.msg_iov++;
        one->segments--;
        offset += PREFIX + (Py_ssize_t)size;
    }
    return 1;
}

/* Send what is in the batch, each datagram of which has so many bytes around its data. 0: the socket takes no more, and
 * the batch says where to go on. What was not sent then stands from message `unsent` up to `count`, and in each
 * `segments` says how many datagrams of it were not. */
int batch_flush(table *t, int fd, size_t around)
{
    batch *b = &t->out;
    unsigned done = 0, count = b->count;
    while (done < count) {
        int taken = sendmmsg(fd, b->messages + done, count - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (taken > 0) {
            for (unsigned end = done + (unsigned)taken; done < end; done++)
                sent(b, &b->about[done], b->about[done].segments, b->about[done].size);
            continue;
        }
        outgoing *one = &b->about[done];
        if (errno == EINTR)
            continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            b->unsent = done;
            return blocked(b, one, one->offset);
        }
        if (one->segments > 1 && (errno == EINVAL || errno == EIO || errno == EMSGSIZE)) {
            if (!one_by_one(t, b, done, fd, around)) {
                b->unsent = done;
                return 0;
            }
        } else
            t->drops[UNSENT] += one->segments;
        done++;
    }
    b->count = b->piece = 0;
    return 1;
}

/* What to give back, once all of the queue was sent, or the socket takes no more; NULL where there was an error. */
PyObject *send_end(table *t, int going, Py_ssize_t length)
{
    const batch *b = &t->out;
    let_go(&t->chunks);
    t->busy = 0;
    if (going < 0)
        return NULL;
    return PyObject_CallFunction(sent_type, "nnnnO", b->blocked ? b->index : length, b->blocked ? b->offset : 0,
                                 (Py_ssize_t)b->datagrams, (Py_ssize_t)b->size, b->blocked ? Py_True : Py_False);
}
