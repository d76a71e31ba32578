/* What the files of this extension share: parties, and the table that finds them. The Python forms, plain.py and
 * sealed.py, say what everything does; tests/net/udp holds these to the same.
 */
#ifndef VOLTLANE_UDP_NATIVE_H
#define VOLTLANE_UDP_NATIVE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* recvmmsg, sendmmsg */
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

enum {
    PREFIX = 4,
    TAG = 9,
    HEADER = PREFIX + TAG,
    NAME = 28,       /* bytes of the longest name: struct sockaddr_in6 */
    NAME_ROOM = 32,
    BATCH = 64,      /* messages of one call of the system, out */
    ARRIVING = 32,   /* and in, where each may be many datagrams */
    SEGMENTS = 64,   /* datagrams that the kernel makes of one message, at most */
    SEGMENTED = 65000,
    STRANGERS = 64,
    PIECES = 4 * BATCH,
    CONTROL = 256,   /* what the system may say of a message that comes, whatever the socket's options are */
    ENOUGH = 1 << 16, /* bytes of a chunk: one much larger costs more to allocate than to fill */
};

/* Indices into the reasons that native.py gives, in its order. */
enum drop {
    SHORT, TOO_LARGE, UNKNOWN_ID, UNSEALED, REPLAYED, LATE, RATE, NOT_WANTED, NO_PATH, UNSENT, TOO_STRANGE, DROPS
};

/* What a peer and a channel have in common. */
typedef struct {
    PyObject_HEAD
    uint64_t client_id, packets_in, bytes_in, packets_out, bytes_out;
    double heard;
    double packets_left, bytes_left, tokens_at; /* as in rates.py; tokens_at NaN: nothing has come */
    unsigned tables;                            /* in how many it is: its key must not change then */
    unsigned char key_size;
    unsigned char key[NAME];                    /* a peer's name, a channel's id */
} party;

/* The memory that messages are received into, and what the system is told of it. What one address sends at once may come
 * as one message (UDP_GRO), whose datagrams have all one size, but for a last one that may be shorter. */
typedef struct {
    unsigned char *bytes;
    size_t room;                                /* for each message, as things are set up for now; 0: they are not */
    struct mmsghdr messages[ARRIVING];
    struct iovec pieces[ARRIVING];
    unsigned char names[ARRIVING][NAME_ROOM];
    union { char bytes[CONTROL]; struct cmsghdr align; } controls[ARRIVING];
} arena;

/* One datagram in there. */
typedef struct {
    unsigned char *data;
    size_t size, name_size;
    const unsigned char *name;
} arrival;

/* A chunk that grows while it is filled. */
typedef struct {
    PyObject *bytes;
    size_t size, room;
} chunk;

/* One message on its way out: a datagram, or a run of them to one party. */
typedef struct {
    party *owner;
    Py_ssize_t index, offset; /* in the queue, and in the chunk there, where it begins */
    size_t size;              /* bytes of data */
    unsigned segments;
} outgoing;

/* A batch of them. */
typedef struct {
    struct mmsghdr messages[BATCH];
    struct iovec pieces[PIECES];
    union { char bytes[CMSG_SPACE(sizeof(uint16_t))]; struct cmsghdr align; } controls[BATCH];
    outgoing about[BATCH];
    unsigned count, piece, unsent;
    /* what has become of all so far */
    size_t datagrams, size;
    Py_ssize_t index, offset;
    int blocked;
} batch;

/* What a batch points into is held until it is sent: at most one chunk more than it has messages. */
typedef struct {
    Py_buffer buffers[BATCH + 1];
    PyObject *owners[BATCH + 1];
    unsigned count;
} held;

/* Parties by their keys: open addressing, strong references. `slots` is 0 or a power of two, at least twice `count`. */
typedef struct {
    PyObject_HEAD
    party **at;
    size_t slots, count;
    double packet_rate, byte_rate, packet_burst, byte_burst;
    uint64_t drops[DROPS];
    size_t last_chunk;                          /* bytes of the last chunk received: what the next may need */
    size_t joined;                              /* datagrams in a message, as they came last */
    int segments;                               /* whether the kernel takes messages apart; -1: not asked yet */
    int busy;
    arena in;
    batch out;
    held chunks;
    unsigned char *sealed;                      /* room for a batch of datagrams; nothing for peers */
    size_t sealed_room;
} table;

/* What was made of a batch that comes. */
typedef struct {
    table *into;
    double now;
    long flag;
    size_t limit, packets;
    chunk chunk;
    PyObject *found; /* a list of what Python has to look at */
} receiving;

/* What becomes of one datagram. 0, or -1 with an error. */
typedef int (*taking)(receiving *r, const arrival *one);

extern PyTypeObject party_type, table_type, peer_type, peers_type, channel_type, channels_type;
extern PyObject *received_type, *opened_type, *sent_type, *reasons[DROPS];
extern uint64_t secret[2];

static inline uint32_t get32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t get64(const unsigned char *p)
{
    return (uint64_t)get32(p) | (uint64_t)get32(p + 4) << 32;
}

static inline void put16(unsigned char *p, unsigned v)
{
    p[0] = (unsigned char)v;
    p[1] = (unsigned char)(v >> 8);
}

static inline void put32(unsigned char *p, uint32_t v)
{
    put16(p, v & 0xFFFF);
    put16(p + 2, v >> 16);
}

static inline void put64(unsigned char *p, uint64_t v)
{
    put32(p, (uint32_t)v);
    put32(p + 4, (uint32_t)(v >> 32));
}

/* _table.c */
int party_begin(party *self, PyObject *client_id, PyObject *now);
int within(const table *t, party *p, size_t size, double now);
party *table_find(const table *t, const unsigned char *key, size_t size);
PyObject *table_add(PyObject *self, PyObject *one, PyTypeObject *type);

/* _batch.c */
PyObject *receive_all(table *t, PyObject *const *args, Py_ssize_t nargs, taking take, PyObject *result_type);
int receive_packet(receiving *r, party *from, const unsigned char *data, size_t size);
unsigned run_of(const unsigned char *p, const unsigned char *end, uint32_t size, size_t around);
int send_begin(table *t, PyObject *const *args, PyTypeObject *type);
int send_next(table *t, PyObject *pair, PyTypeObject *type, int fd, size_t around);
struct msghdr *batch_add(batch *b, party *owner, Py_ssize_t index, Py_ssize_t offset, const unsigned char *name,
                         size_t name_size);
void batch_segment(batch *b, const void *data, size_t sent, size_t counted);
void batch_segmented(batch *b, size_t each);
int batch_flush(table *t, int fd, size_t around);
PyObject *send_end(table *t, int going, Py_ssize_t length);

#endif
