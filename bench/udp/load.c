/* The clients and the backend of one run, in one process: load MODE CLIENTS SIZE DEPTH WINDOW BURST BACKEND.
 *
 * MODE is up (clients → backend), down (backend → clients, one each in turn), echo, or idle. DEPTH datagrams of a client
 * and WINDOW of all may be under way; a client sends BURST at once, in one message that the kernel takes apart. BACKEND
 * is tcp (Voltlane's tagged frames) or udp (a datagram each, from a port for each client: a proxy of datagrams).
 *
 * It says the backend's port; then each line of its input is a command, and is answered by a line: `meet PORT` has every
 * client send until the backend knows it, `go` begins, `count` gives what has arrived so far, `stop` ends and waits for
 * what is under way. Every datagram has its client's index, its number and a pattern, and is compared with that; what is
 * lost (nothing arrives for 0.2 s) is counted. Whatever else happens ends it, with a word on its standard error.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { HEAD = 13, MOST = 1472, SLOTS = 1 << 18, ROOM = 1 << 20, BATCH = 64, HELLO = 0xFFFFFFF };
enum { UP, DOWN, ECHO, IDLE };

struct client {
    int fd;
    uint32_t next_up, next_down, seen_up, seen_down; /* numbers: to be sent, expected */
    uint32_t under_way;
    uint64_t id;               /* at a backend of tcp */
    struct sockaddr_in proxy;  /* at one of udp */
};

struct slot {
    uint64_t id;
    uint32_t client;           /* 0: free, n: client n - 1 */
};

static struct client *clients;
static struct slot slots[SLOTS];
static uint32_t count, size, depth, window, burst, known, under_way, turn;
static int mode, by_udp, backend = -1, poller, running;
static uint64_t arrived, sent, lost, progress_at;
static unsigned char pattern[MOST + 256], out[ROOM + HEAD + MOST], in[ROOM];
static size_t out_size, out_done, in_size;
static unsigned char room[BATCH][MOST + 1];
static struct mmsghdr messages[BATCH];
static struct iovec pieces[BATCH];
static struct sockaddr_in names[BATCH];

static void fail(const char *format, ...)
{
    va_list given;
    va_start(given, format);
    vfprintf(stderr, format, given);
    va_end(given);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void make(unsigned char *to, uint32_t index, uint32_t number)
{
    memcpy(to, &index, 4);
    memcpy(to + 4, &number, 4);
    memcpy(to + 8, pattern + number % 61, size - 8);
}

/* The index in it, if all of it is as it was sent; `*number` is the number. */
static uint32_t check(const unsigned char *data, size_t length, uint32_t *number, const char *who)
{
    uint32_t index;
    if (length != size)
        fail("%s got %zu bytes instead of %u", who, length, size);
    memcpy(&index, data, 4);
    memcpy(number, data + 4, 4);
    if (index >= count || memcmp(data + 8, pattern + *number % 61, size - 8))
        fail("%s got what nobody has sent", who);
    return index;
}

static struct slot *slot_of(uint64_t id)
{
    size_t at = (id * UINT64_C(0x9E3779B97F4A7C15)) >> 46;
    while (slots[at].client && slots[at].id != id)
        at = (at + 1) % SLOTS;
    return &slots[at];
}

/* ---- clients */

static void client_sends(struct client *client, uint32_t number)
{
    static unsigned char buffer[BATCH * MOST];
    uint32_t index = (uint32_t)(client - clients);
    for (uint32_t n = 0; n < number; n++)
        make(buffer + n * size, index, client->next_up + n);
    struct iovec piece = {buffer, number * size};
    union { char bytes[CMSG_SPACE(2)]; struct cmsghdr align; } control;
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    if (number > 1) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = IPPROTO_UDP;
        head->cmsg_type = UDP_SEGMENT;
        head->cmsg_len = CMSG_LEN(2);
        uint16_t each = (uint16_t)size;
        memcpy(CMSG_DATA(head), &each, 2);
    }
    if (sendmsg(client->fd, &message, 0) < 0)
        fail("a client could not send: %s", strerror(errno));
    client->next_up += number;
    client->under_way += number;
    under_way += number;
    sent += number;
}

static void client_says_hello(struct client *client)
{
    unsigned char data[MOST];
    make(data, (uint32_t)(client - clients), HELLO);
    (void)!send(client->fd, data, size, 0);
}

static void client_receives(struct client *client)
{
    for (;;) {
        int got = recvmmsg(client->fd, messages, BATCH, 0, NULL);
        if (got < 0) {
            if (errno == EAGAIN)
                return;
            fail("a client could not receive: %s", strerror(errno));
        }
        for (int n = 0; n < got; n++) {
            uint32_t number;
            if (&clients[check(room[n], messages[n].msg_len, &number, "a client")] != client)
                fail("a client got what was another's");
            if (number == HELLO)
                continue;
            if (number < client->seen_down)
                fail("a client got number %u behind %u", number, client->seen_down - 1);
            client->seen_down = number + 1;
            arrived++;
            if (under_way)
                under_way--;
            if (client->under_way)
                client->under_way--;
        }
        if (mode == ECHO && running)
            while (client->under_way + burst <= depth)
                client_sends(client, burst);
        if (got < BATCH)
            return;
    }
}

/* ---- the backend */

static void backend_got(uint32_t index, uint32_t number)
{
    struct client *client = &clients[index];
    if (number == HELLO)
        return;
    if (number < client->seen_up)
        fail("the backend got number %u behind %u of client %u", number, client->seen_up - 1, index);
    client->seen_up = number + 1;
    if (mode == UP) {
        arrived++;
        if (under_way)
            under_way--;
        if (client->under_way)
            client->under_way--;
    }
}

static void backend_writes(void)
{
    while (out_done < out_size) {
        ssize_t n = send(backend, out + out_done, out_size - out_done, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            fail("the server closed the backend's connection");
        out_done += (size_t)n;
    }
    out_size = out_done = 0;
}

static void backend_sends(struct client *client, const unsigned char *data)
{
    if (by_udp) {
        if (sendto(backend, data, size, 0, (struct sockaddr *)&client->proxy, sizeof client->proxy) < 0)
            fail("the backend could not send: %s", strerror(errno));
        return;
    }
    uint32_t frame = size + 9;
    memcpy(out + out_size, &frame, 4);
    memcpy(out + out_size + 4, &client->id, 8);
    out[out_size + 12] = 0;
    memcpy(out + out_size + HEAD, data, size);
    out_size += HEAD + size;
}

static void stream_came(void)
{
    for (int times = 0; times < 8; times++) {
        if (mode == ECHO && out_size > ROOM / 2)
            return; /* it is read on when that is written */
        ssize_t n = recv(backend, in + in_size, ROOM - in_size, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            fail("the server closed the backend's connection");
        in_size += (size_t)n;
        unsigned char *p = in, *end = in + in_size;
        while (end - p >= HEAD) {
            uint32_t frame, number;
            uint64_t id;
            memcpy(&frame, p, 4);
            memcpy(&id, p + 4, 8);
            if (frame < 9 || frame > 9 + MOST)
                fail("the backend got a frame of %u bytes", frame);
            if ((size_t)(end - p) < 4 + (size_t)frame)
                break;
            if (p[12] != 0)
                fail("the backend got flag %u: %.*s", p[12], (int)(frame - 9), p + HEAD);
            uint32_t index = check(p + HEAD, frame - 9, &number, "the backend");
            struct slot *slot = slot_of(id);
            if (!slot->client) {
                if (clients[index].id != UINT64_MAX)
                    fail("client %u has two ids", index);
                *slot = (struct slot){id, index + 1};
                clients[index].id = id;
                known++;
            } else if (slot->client != index + 1)
                fail("the backend got under one id what two clients sent");
            backend_got(index, number);
            if (mode == ECHO && number != HELLO)
                backend_sends(&clients[index], p + HEAD);
            p += 4 + (size_t)frame;
        }
        in_size = (size_t)(end - p);
        memmove(in, p, in_size);
        if (mode == ECHO)
            backend_writes();
    }
}

static void datagrams_came(void)
{
    int got = recvmmsg(backend, messages, BATCH, 0, NULL);
    for (int n = 0; n < got; n++) {
        uint32_t number, index = check(room[n], messages[n].msg_len, &number, "the backend");
        struct client *client = &clients[index];
        if (client->id == UINT64_MAX) {
            client->id = index;
            known++;
        }
        client->proxy = names[n];
        backend_got(index, number);
        if (mode == ECHO && number != HELLO)
            backend_sends(client, room[n]);
    }
    for (int n = 0; n < BATCH; n++)
        messages[n].msg_hdr.msg_namelen = sizeof *names;
}

/* ---- what is to be done */

/* One each in turn, as far as there is room. */
static void send_in_turn(void)
{
    for (uint32_t tried = 0; tried < count && under_way + burst <= window; tried++) {
        struct client *client = &clients[turn];
        turn = (turn + 1) % count;
        if (client->under_way + burst > depth)
            continue;
        if (mode == DOWN) {
            unsigned char data[MOST];
            if (out_size > ROOM / 4)
                break;
            make(data, (uint32_t)(client - clients), client->next_down++);
            backend_sends(client, data);
            client->under_way++;
            under_way++;
            sent++;
        } else
            client_sends(client, burst);
    }
    if (mode == DOWN && !by_udp)
        backend_writes();
}

static void step(int timeout)
{
    static struct epoll_event events[512];
    uint64_t before = arrived;
    if (!by_udp && backend >= 0) {
        struct epoll_event wanted = {.events = EPOLLIN | (out_size ? EPOLLOUT : 0), .data.u32 = UINT32_MAX};
        static uint32_t asked;
        if (wanted.events != asked)
            epoll_ctl(poller, EPOLL_CTL_MOD, backend, &wanted);
        asked = wanted.events;
    }
    int ready = epoll_wait(poller, events, 512, timeout);
    for (int n = 0; n < ready; n++) {
        if (events[n].data.u32 < count)
            client_receives(&clients[events[n].data.u32]);
        else if (events[n].data.u32 == UINT32_MAX && by_udp)
            datagrams_came();
        else if (events[n].data.u32 == UINT32_MAX) {
            if (out_size)
                backend_writes();
            stream_came();
        }
    }
    if (arrived != before)
        progress_at = milliseconds();
    else if (under_way && milliseconds() - progress_at > 200) {
        lost += under_way;
        under_way = 0;
        for (uint32_t n = 0; n < count; n++)
            clients[n].under_way = 0;
        progress_at = milliseconds();
        if (mode == ECHO && running)
            for (uint32_t n = 0; n < count; n++)
                client_sends(&clients[n], burst);
    }
}

static void meet(int port)
{
    struct sockaddr_in where = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    where.sin_port = htons((uint16_t)port);
    for (uint32_t n = 0; n < count; n++) {
        struct client *client = &clients[n];
        int most = 1 << 20;
        client->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        client->id = UINT64_MAX;
        setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &most, sizeof most);
        if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&where, sizeof where))
            fail("no socket for client %u: %s", n, strerror(errno));
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = n};
        epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &event);
    }
    uint64_t deadline = milliseconds() + 60000;
    while (known < count) { /* a few at a time, and again for what was lost */
        uint32_t saying = 0;
        for (uint32_t n = 0; n < count && saying < 50; n++)
            if (clients[n].id == UINT64_MAX) {
                client_says_hello(&clients[n]);
                saying++;
            }
        uint32_t upto = known + saying;
        for (uint64_t end = milliseconds() + 100; known < upto && milliseconds() < end;)
            step(5);
        if (milliseconds() > deadline)
            fail("the backend knows %u of %u clients", known, count);
    }
}

static void go(void)
{
    running = 1;
    progress_at = milliseconds();
    for (uint32_t n = 0; mode == ECHO && n < count; n++)
        while (clients[n].under_way + burst <= depth)
            client_sends(&clients[n], burst);
}

static void tell(void)
{
    struct timespec cpu;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    printf("{\"arrived\": %llu, \"sent\": %llu, \"lost\": %llu, \"cpu\": %.6f}\n", (unsigned long long)arrived,
           (unsigned long long)sent, (unsigned long long)lost, (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
    fflush(stdout);
}

static void command(int listener)
{
    char line[64] = {0};
    ssize_t n = read(0, line, sizeof line - 1);
    if (n == 0)
        exit(0);
    if (n < 0)
        return;
    if (!strncmp(line, "meet ", 5)) {
        if (!by_udp) {
            backend = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            int yes = 1;
            setsockopt(backend, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            struct epoll_event event = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
            epoll_ctl(poller, EPOLL_CTL_ADD, backend, &event);
        }
        meet(atoi(line + 5));
    } else if (!strncmp(line, "go", 2))
        go();
    else if (!strncmp(line, "stop", 4)) {
        running = 0;
        while (under_way)
            step(5);
    }
    tell();
}

int main(int argc, char **argv)
{
    static const char *modes[] = {"up", "down", "echo", "idle"};
    if (argc != 8)
        return 2;
    while (mode < 3 && strcmp(argv[1], modes[mode]))
        mode++;
    count = (uint32_t)atoi(argv[2]);
    size = (uint32_t)atoi(argv[3]);
    depth = (uint32_t)atoi(argv[4]);
    window = (uint32_t)atoi(argv[5]);
    burst = (uint32_t)atoi(argv[6]);
    by_udp = !strcmp(argv[7], "udp");
    if (!count || count > SLOTS / 2 || size < 16 || size > MOST || !burst || burst > depth || burst > window ||
        burst * size > 65000 || burst > BATCH)
        return 2;
    clients = calloc(count, sizeof *clients);
    for (size_t n = 0; n < sizeof pattern; n++)
        pattern[n] = (unsigned char)(32 + n % 61 * 7 % 61);
    for (int n = 0; n < BATCH; n++) {
        pieces[n] = (struct iovec){room[n], sizeof room[n]};
        messages[n].msg_hdr = (struct msghdr){
            .msg_name = &names[n], .msg_namelen = sizeof names[n], .msg_iov = &pieces[n], .msg_iovlen = 1};
    }
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof here;
    int most = 4 << 20, listener = socket(AF_INET, by_udp ? SOCK_DGRAM | SOCK_NONBLOCK : SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_RCVBUFFORCE, &most, sizeof most);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || (!by_udp && listen(listener, 4)))
        fail("no port: %s", strerror(errno));
    getsockname(listener, (struct sockaddr *)&here, &length);
    poller = epoll_create1(0);
    struct epoll_event input = {.events = EPOLLIN, .data.u32 = UINT32_MAX - 1};
    if (by_udp) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
        backend = listener;
        epoll_ctl(poller, EPOLL_CTL_ADD, backend, &event);
    }
    (void)input;
    fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
    printf("%d\n", ntohs(here.sin_port));
    fflush(stdout);
    for (uint64_t asked = 0;;) {
        uint64_t now = milliseconds();
        if (now != asked) { /* once a millisecond */
            asked = now;
            command(listener);
        }
        if (running && mode < ECHO)
            send_in_turn();
        step(running && mode < ECHO && under_way + burst <= window ? 0 : 1);
    }
}
