/* What anybody would write in C: relay LISTEN MASTER. A datagram is one recvfrom, its address is looked up in a hash
 * table, the tagged packet is put into a buffer, and the buffer is written when recvfrom finds nothing more. What comes
 * from the master goes out by a sendto each. Every address is admitted, nothing is limited or forgotten.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD = 13, MOST = 1500, SLOTS = 1 << 18, OUT = 1 << 18, IN = 1 << 18 };

struct client {
    struct sockaddr_in address;
    uint64_t id, packets_in, bytes_in, packets_out, bytes_out;
};

static struct client *slots[SLOTS], *clients[SLOTS / 2];
static uint64_t count;
static unsigned char out[OUT + HEAD + MOST], in[IN];
static size_t out_size, out_done, in_size;
static int sock, master;

static struct client *client_at(const struct sockaddr_in *from)
{
    uint64_t key = (uint64_t)from->sin_addr.s_addr << 16 | from->sin_port;
    size_t slot = (key * UINT64_C(0x9E3779B97F4A7C15)) >> 46;
    for (; slots[slot]; slot = (slot + 1) % SLOTS)
        if (slots[slot]->address.sin_addr.s_addr == from->sin_addr.s_addr &&
            slots[slot]->address.sin_port == from->sin_port)
            return slots[slot];
    if (count == SLOTS / 2)
        return NULL;
    struct client *made = calloc(1, sizeof *made);
    made->address = *from;
    made->id = count;
    clients[count++] = made;
    return slots[slot] = made;
}

/* Whether all of it is written. */
static int write_out(void)
{
    while (out_done < out_size) {
        ssize_t n = send(master, out + out_done, out_size - out_done, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n < 0)
            exit(0);
        out_done += (size_t)n;
    }
    out_size = out_done = 0;
    return 1;
}

static void from_clients(void)
{
    while (out_size < OUT) {
        struct sockaddr_in from;
        socklen_t size = sizeof from;
        unsigned char *to = out + out_size;
        ssize_t n = recvfrom(sock, to + HEAD, MOST, 0, (struct sockaddr *)&from, &size);
        if (n < 0)
            break;
        struct client *client = client_at(&from);
        if (!client)
            continue;
        client->packets_in++;
        client->bytes_in += (uint64_t)n;
        uint32_t frame = (uint32_t)n + 9;
        memcpy(to, &frame, 4);
        memcpy(to + 4, &client->id, 8);
        to[12] = 0;
        out_size += HEAD + (size_t)n;
    }
}

static void from_master(void)
{
    ssize_t n = recv(master, in + in_size, IN - in_size, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        exit(0);
    in_size += (size_t)n;
    unsigned char *p = in, *end = in + in_size;
    while (end - p >= HEAD) {
        uint32_t frame;
        uint64_t id;
        memcpy(&frame, p, 4);
        memcpy(&id, p + 4, 8);
        if (frame < 9 || frame > 9 + MOST)
            exit(1);
        if ((size_t)(end - p) < 4 + (size_t)frame)
            break;
        if (id < count && p[12] == 0) {
            struct client *client = clients[id];
            if (sendto(sock, p + HEAD, frame - 9, 0, (struct sockaddr *)&client->address, sizeof client->address) >= 0) {
                client->packets_out++;
                client->bytes_out += frame - 9;
            }
        }
        p += 4 + (size_t)frame;
    }
    in_size = (size_t)(end - p);
    memmove(in, p, in_size);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}, there = here;
    here.sin_port = htons((uint16_t)atoi(argv[1]));
    there.sin_port = htons((uint16_t)atoi(argv[2]));
    int size = 4 << 20, yes = 1;
    sock = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    for (int way = 0; way < 2; way++) {
        setsockopt(sock, SOL_SOCKET, way ? SO_SNDBUF : SO_RCVBUF, &size, sizeof size);
        setsockopt(sock, SOL_SOCKET, way ? SO_SNDBUFFORCE : SO_RCVBUFFORCE, &size, sizeof size);
    }
    master = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(master, (struct sockaddr *)&there, sizeof there) || bind(sock, (struct sockaddr *)&here, sizeof here)) {
        perror("relay");
        return 1;
    }
    int flags = fcntl(master, F_GETFL);
    fcntl(master, F_SETFL, flags | O_NONBLOCK);
    setsockopt(master, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    int poller = epoll_create1(0);
    struct epoll_event one = {.events = EPOLLIN, .data.fd = sock}, other = {.events = EPOLLIN, .data.fd = master};
    epoll_ctl(poller, EPOLL_CTL_ADD, sock, &one);
    epoll_ctl(poller, EPOLL_CTL_ADD, master, &other);
    for (int blocked = 0;;) {
        struct epoll_event events[2];
        int ready = epoll_wait(poller, events, 2, -1);
        for (int n = 0; n < ready; n++) {
            if (events[n].data.fd == sock && !blocked)
                from_clients();
            else if (events[n].data.fd == master && events[n].events & (EPOLLIN | EPOLLHUP))
                from_master();
        }
        int now = !write_out();
        if (now != blocked) { /* while the master takes nothing, nothing is taken from clients */
            blocked = now;
            one.events = blocked ? 0 : EPOLLIN;
            other.events = blocked ? EPOLLIN | EPOLLOUT : EPOLLIN;
            epoll_ctl(poller, EPOLL_CTL_MOD, sock, &one);
            epoll_ctl(poller, EPOLL_CTL_MOD, master, &other);
        }
    }
}
