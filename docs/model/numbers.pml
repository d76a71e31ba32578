/* The numbers of a session over cut connections, lost answers and crashes: SPEC.txt, sections 14, 15, 17 and 18.
 *
 * One client, one server, one master, one session. What an application hands over is 1, 2, 3, ... in each direction, and
 * what comes out is checked against that. Numbers are not on the wire, as in section 15: both sides count.
 * Every step is atomic, and the steps come in any order. A connection is a slot: the client is on one at most, the
 * server listens to one at most, and what the client sent on others may still arrive, or not.
 * Sizes come from the script `check`: how many packets each way, and how often each thing may go wrong. */

#ifndef UP
#define UP 2                    /* packets from the client to the master */
#endif
#ifndef DOWN
#define DOWN 1                  /* packets from the master to the client */
#endif
#ifndef CUTS
#define CUTS 2                  /* connections that end, at any point, without anybody's crash */
#endif
#ifndef SERVER_CRASHES
#define SERVER_CRASHES 0        /* kill -9: the journal has identity and secrets, but older numbers */
#endif
#ifndef CLIENT_CRASHES
#define CLIENT_CRASHES 0        /* the client is restored from the state that it wrote last */
#endif
#ifndef SLOW_APPLICATION
#define SLOW_APPLICATION 0      /* 1: what the client has taken waits for its application: taken and safe differ (15) */
#endif
#ifndef SAVES
#define SAVES 0                 /* how often it writes one without having to */
#endif
#ifndef LIMIT
#define LIMIT 9                 /* packets that the server keeps for the client; past it the oldest goes (why 1) */
#endif
#ifndef ENDS
#define ENDS 0                  /* 1: the master may end the session (3506), whose tombstone then answers */
#endif
#ifndef FORGED
#define FORGED 0                /* resumes of somebody who has no secret */
#endif

#define SLOTS 3
#define DEPTH 2                 /* records that are under way, each way */
#define NUMBERS 14              /* above every number that is used */
#define FORGER 0                /* the slot of who has no secret; the client's are 1 to SLOTS */
#define BIT(m) (1 << (m))
#define MAX(x, y) ((x) > (y) -> (x) : (y))

/* Records (section 10). resume: ack, generation, epoch, taken, sent, acked. welcome: ack, epoch, generation, taken.
 * data: ack, which packet. gap: ack, first, last. close: ack, code, taken. (uncertain is only in a mistake) */
#define TAKEN_OVER 7            /* 3007 */
#define SUPERSEDED 3            /* 3503 */
#define HAS_ENDED 4             /* 3504 */
#define KICKED 6                /* 3506 */
mtype = { resume, welcome, data, ack, gap, uncertain, close };
chan up[SLOTS + 1] = [DEPTH] of { mtype, byte, byte, byte, byte, byte, byte };
chan down = [DEPTH] of { mtype, byte, byte, byte, byte };           /* of the client's connection: it reads no other */
bool unheard;                   /* the server does not listen to the connection that the client is on (any more) */

/* The client. */
byte c_slot, c_tries;
bool c_welcomed, c_confirmed, c_over;
byte c_generation, c_epoch, c_taken, c_safe, c_told, c_sent, c_acked, c_heard, c_next = 1;
byte c_packet[NUMBERS];         /* which packet has a number; 0: none, it is a gap */
byte c_high;                    /* the highest number that it ever used */
byte given_up;                  /* packets that its application has handed over */
byte got_down;                  /* the last packet that it got */
bool gap_told;                  /* since then */
byte over_taken;                /* what the close said */
byte w_generation, w_epoch, w_taken, w_sent, w_acked, w_given_up, w_got_down; bool w_gap_told;      /* what it wrote */

/* The server. */
byte s_slot, s_generation, s_epoch = 1, s_taken, s_safe, s_told, s_base, s_last, s_next = 1, s_heard;
bool s_promised;                /* the next secret exists, was written and told */
bool s_lost;                    /* it has lost its memory, and the client has not confirmed that it knows */
bool s_ended;
short s_offset;                 /* number - packet, downwards */
byte s_packet[NUMBERS];
byte given_down;                /* packets that the master has handed over */
byte got_up;                    /* the last packet that the master got */

/* What became of the client's packets, a bit each. */
#ifdef MUTANT_OLD_LINK_HEARD
byte left;
#endif
#ifdef MUTANT_GAP_NOT_TOLD_AGAIN
byte gap_was_told;
#endif
#ifdef MUTANT_PROOF_CONFIRMS_NOTHING
byte promised;
#define SAYS_TAKEN promised
#else
#define SAYS_TAKEN s_taken
#endif
short on_wire, arrived, unsure, wiped;
byte cuts, server_crashes, client_crashes, saves, forged;
bool dropped;

hidden mtype k;
hidden byte h, a, b, c, d, e, i, old;   /* a record; scratch */

#define CRASHED (server_crashes + client_crashes)

inline lose_up(slot) {
    if :: len(up[slot]) > 0 -> up[slot]?_,_,_,_,_,_,_ :: else fi;
    if :: len(up[slot]) > 0 -> up[slot]?_,_,_,_,_,_,_ :: else fi
}
inline lose_down() {
    if :: len(down) > 0 -> down?_,_,_,_,_ :: else fi;
    if :: len(down) > 0 -> down?_,_,_,_,_ :: else fi
}

/* ---- the server ----
 * Epoch 0 is "none yet": the first record is an open, which is a resume with nothing taken, sent or acked (13). */

inline unbinds(slot) {
#ifdef MUTANT_OLD_LINK_HEARD
    if :: slot && slot == c_slot -> unheard = true :: else -> left = slot fi
#else
    lose_up(slot); if :: slot && slot == c_slot -> unheard = true :: else fi
#endif
}

inline emit(slot, kind, f1, f2, f3) {           /* every record carries the ack (15) */
#ifdef MUTANT_ACKED_BEFORE_SAFE
    if :: slot == c_slot -> down!kind,s_taken,f1,f2,f3 :: else fi;
#else
    if :: slot == c_slot -> down!kind,s_safe,f1,f2,f3 :: else fi;
#endif
    s_told = s_safe
}
#define CAN_EMIT (s_slot && (s_slot != c_slot || len(down) < DEPTH))

inline rests() { s_slot = 0; s_told = 0; s_heard = 0; s_next = 1 }

inline confirm() {                              /* 14: the next generation becomes the present one */
    if :: s_promised -> s_generation++; s_promised = false :: else fi
}
inline epoch_known() {                          /* 17: from now on what was told as uncertain is behind us */
    if :: s_lost -> s_lost = false; s_safe = s_taken :: else fi
}

inline resumed(slot, proven) {                  /* section 14; h a b c d e = ack generation epoch taken sent acked */
#ifdef MUTANT_MOVED_BEFORE_PROOF
    s_base = MAX(s_base, (h < s_last -> h : s_last));
#endif
    if
    :: !proven || a < s_generation || a > s_generation + s_promised ->
#ifdef MUTANT_DESTROYED_FIRST
        s_ended = true;
#endif
        unbinds(slot);
        if :: slot && slot == c_slot -> down!close,0,SUPERSEDED,0,0 :: else fi
    :: else ->
        old = s_slot;
        if :: old && old != slot ->             /* takeover: what comes there is not listened to (14) */
            if :: old == c_slot && len(down) < DEPTH -> down!close,s_safe,TAKEN_OVER,s_taken,0 :: else fi;
            unbinds(old)
        :: else fi;
        s_slot = slot; s_heard = 0;
        if :: a > s_generation -> confirm(); if :: b == s_epoch -> epoch_known() :: else fi :: else fi;
        if
        :: s_ended ->                           /* 18: the tombstone answers, after the proof */
#ifdef MUTANT_CLOSE_WITHOUT_COUNTS
            emit(slot, close, HAS_ENDED, 0, 0);
#else
            emit(slot, close, HAS_ENDED, s_taken, 0);
#endif
            unbinds(slot); rests()
        :: else ->
            s_promised = true;
#ifdef MUTANT_PROOF_CONFIRMS_NOTHING
            promised = s_taken;
#endif
            if
#ifndef MUTANT_EPOCH_IGNORED
            :: b != s_epoch && (b || s_epoch > 1) ->            /* 17: it has lost its memory; told until confirmed */
                s_lost = true;
#ifdef MUTANT_PROOF_CONFIRMS_NOTHING            /* what the welcome said holds only when a record has come behind it */
                promised = MAX(s_taken, d);
#else
                s_taken = MAX(s_taken, d);
#endif
                s_safe = MAX(s_safe, e);
#ifdef MUTANT_NUMBERS_REUSED                    /* the new numbers begin behind what this resume says it has taken */
                i = (s_base <= c -> c + 1 - s_base : 0);
                s_base = s_base + i; s_offset = s_offset + i; s_last = s_last + i;
#endif
#endif
            :: else -> s_base = MAX(s_base, (h < s_last -> h : s_last))
            fi;
#ifdef MUTANT_GAP_NOT_TOLD_AGAIN
            s_next = MAX(c, gap_was_told) + 1;
#elif defined(MUTANT_COUNTER_RESET)
            s_next = s_base + 1;
#else
            s_next = c + 1;                     /* from here on one count, whatever is sent (15) */
#endif
#ifdef MUTANT_WRONG_DIRECTION
            emit(slot, welcome, s_epoch, s_generation + 1, s_last);
#else
            emit(slot, welcome, s_epoch, s_generation + 1, SAYS_TAKEN);
#endif
#ifdef MUTANT_UNCERTAIN_APART
            if :: s_lost && s_safe < s_taken -> emit(slot, uncertain, s_safe + 1, s_taken, 0) :: else fi;
#endif
#ifdef MUTANT_UNCERTAIN_NOT_TOLD_AGAIN
            s_safe = s_taken;
#endif
        fi
    fi
}

inline heard(slot) {                            /* a record behind the resume */
    up[slot]?k,h,a,b,c,d,e;
    assert(h >= s_heard && h <= s_last);        /* else 3500 */
    s_heard = h;
    s_base = MAX(s_base, h);
#ifdef MUTANT_PROOF_CONFIRMS_NOTHING
    s_taken = MAX(s_taken, promised);
#endif
    confirm(); epoch_known();                   /* the first record behind the welcome, whatever it is (13, 14) */
    if
    :: k == data -> s_taken++; s_packet[s_taken] = a
    :: k == gap && b > s_taken -> assert(a <= s_taken + 1 && client_crashes); s_taken = b
    :: else
    fi
}

inline sends() {                                /* one place counts: gap, replay and live (15, 17) */
    if
    :: s_next <= s_base ->
#ifdef MUTANT_SILENT_DROP
        s_next = s_base + 1
#else
        emit(s_slot, gap, s_next, s_base, 0); s_next = s_base + 1;
#ifdef MUTANT_GAP_NOT_TOLD_AGAIN
        gap_was_told = s_base;
#endif
        skip
#endif
    :: else -> emit(s_slot, data, s_next - s_offset, 0, 0); s_next++
    fi
}

inline passed_on() {                            /* to the master's socket, in whole: that is safe (15) */
    s_safe++; i = s_packet[s_safe]; s_packet[s_safe] = 0;
    if
    :: i ->
        assert(i > got_up);                                             /* each once, in order ... */
        assert(((BIT(i) - 2) & ~(arrived | unsure | wiped)) == 0);      /* ... and no hole that nobody was told of */
        got_up = i; arrived = arrived | BIT(i)
    :: else
    fi
}

inline handed_down() {
    given_down++; s_last++;
    if :: s_last - s_base > LIMIT -> s_base++; dropped = true :: else fi
}

inline server_crashes_to(safe) {
    server_crashes++;
    s_safe = safe; s_taken = s_safe; s_lost = true; rests();
    lose_up(1); lose_up(2); lose_up(3); if :: c_slot -> unheard = true :: else fi;
#ifdef MUTANT_EPOCH_TWICE
    s_epoch = 2;
#else
    s_epoch++;
#endif
#ifdef MUTANT_NUMBERS_REUSED
    s_last = 0; s_base = 0;
#else
    s_last++; s_base = s_last;                  /* above every number that was used; one at least is for what is lost */
#endif
    s_offset = s_last - given_down
}

/* ---- the client ---- */

/* One write: secret, epoch, numbers, what the application was told; before the next secret is used (14). */
inline writes_state() {
    w_generation = c_generation; w_epoch = c_epoch; w_taken = c_taken; w_sent = c_sent; w_acked = c_acked;
    w_given_up = given_up; w_got_down = got_down; w_gap_told = gap_told
}

inline connects() {
#ifndef MUTANT_USED_BEFORE_WRITTEN
    if :: CLIENT_CRASHES && w_generation != c_generation -> writes_state() :: else fi;
#endif
    c_tries++;
    assert(c_tries <= 1 + 2 * (cuts + client_crashes) + server_crashes + s_ended);  /* it comes through: no livelock */
    c_slot = 1; c_told = c_safe;
    do :: c_slot == s_slot || len(up[c_slot]) > 0 -> c_slot++ :: else -> break od;
    up[c_slot]!resume,c_safe,c_generation,c_epoch,c_taken,c_sent,c_acked
}
#define FREE(slot) (slot != s_slot && len(up[slot]) == 0)

inline leaves() {
    c_slot = 0; c_welcomed = false; c_confirmed = false; unheard = false;
    c_heard = 0; c_told = 0; c_next = 1; lose_down()
}

inline told_unsure(first, last) {               /* 17: its application is told */
    assert(server_crashes);
    for (i : first .. last) {
        if :: i <= c_sent && c_packet[i] ->
            assert(on_wire & BIT(c_packet[i])); unsure = unsure | BIT(c_packet[i])
        :: else fi
    };
    c_acked = MAX(c_acked, last)
}

inline welcomed() {                             /* h a b c = ack epoch generation taken */
    assert(c >= c_acked || CRASHED);
    if :: a != c_epoch ->
        c_acked = MAX(c_acked, h);
#ifndef MUTANT_UNCERTAIN_APART
        if :: c_acked < c -> told_unsure(c_acked + 1, c) :: else fi;
#endif
        c_epoch = a
    :: else -> skip
    fi;
#ifdef MUTANT_CLIENT_NUMBERS_REUSED
    c_sent = MAX(c_sent, c);
#endif
    assert(c <= c_sent);
    c_next = c + 1; c_generation = b; c_welcomed = true
}

inline gets() {
    down?k,h,a,b,c;
    if
    :: k == welcome -> welcomed()
    :: k == data ->
        assert(a > got_down);                                           /* each once, in order ... */
        assert(a == got_down + 1 || gap_told);                          /* ... or a hole that was told ... */
#ifdef MUTANT_TWO_COUNTS                        /* what comes with the welcome is counted elsewhere than the rest */
        if :: c_confirmed -> c_taken++ :: else fi;
#else
        c_taken++;
#endif
        assert(a == c_taken || CRASHED);                                /* ... exactly, while nobody lost his memory */
        got_down = a; gap_told = false
    :: k == gap ->
        if :: b > c_taken ->
            assert(a <= c_taken + 1);                                   /* 17: else 3500 */
            assert(CRASHED || dropped);                                 /* never for nothing */
            c_taken = b; gap_told = true
        :: else fi
    :: k == uncertain -> told_unsure(a, b)
    :: k == close && a == TAKEN_OVER ->                                 /* another connection has it: once more (14) */
#ifdef MUTANT_TAKEOVER_IS_FINAL
        assert(false);
#endif
        leaves()
    :: k == close && a == SUPERSEDED -> assert(false)                   /* who has all that it needs is not refused */
    :: k == close && (a == HAS_ENDED || a == KICKED) -> assert(ENDS && s_ended); c_over = true; over_taken = b; leaves()
    :: else -> skip
    fi;
    if :: !SLOW_APPLICATION -> c_safe = c_taken :: else fi;
    if :: k != close ->
        assert(h >= c_heard && h <= c_sent);                            /* 15: else 3500 */
        c_heard = h; c_acked = MAX(c_acked, h)
    :: else fi
}

inline says(kind, f1, f2) {                     /* the first of them confirms, and the state is written before (14) */
    if :: !c_confirmed -> c_confirmed = true; if :: CLIENT_CRASHES -> writes_state() :: else fi :: else fi;
    if :: unheard -> skip :: else -> up[c_slot]!kind,c_safe,f1,f2,0,0,0 fi;
    c_told = c_safe
}
#define CAN_SAY (c_welcomed && (unheard || len(up[c_slot]) < DEPTH))

#define HAS_DATA (c_next <= c_sent || given_up < UP)

inline says_data() {
    if :: c_next > c_sent -> c_sent++; given_up++; c_packet[c_sent] = given_up; c_high = MAX(c_high, c_sent) :: else fi;
    if
    :: c_packet[c_next] ->
        on_wire = on_wire | BIT(c_packet[c_next]);
        says(data, c_packet[c_next], 0); c_next++
    :: else ->                                  /* what it has lost; one gap for all that is next to each other */
        i = c_next;
        do :: c_next <= c_sent && c_packet[c_next] == 0 -> c_next++ :: else -> break od;
        says(gap, i, c_next - 1)
    fi
}

inline client_crash() {
    client_crashes++;
    for (i : w_given_up + 1 .. given_up) { wiped = wiped | BIT(i) };
#ifndef MUTANT_CLIENT_NUMBERS_REUSED
    for (i : w_sent + 1 .. c_high) { c_packet[i] = 0 };
    w_sent = c_high;                            /* above every number that was used: new is never taken for lost */
#endif
    c_generation = w_generation; c_epoch = w_epoch; c_taken = w_taken; c_safe = w_taken;
    c_sent = w_sent; c_acked = w_acked; got_down = w_got_down; gap_told = w_gap_told;
    leaves()
}

/* ---- everything that can happen ---- */

#define SLOT(l) \
    :: d_step { l != s_slot && len(up[l]) > 0 -> up[l]?k,h,a,b,c,d,e; \
        if :: k == resume -> resumed(l, true) :: else fi } \
    :: d_step { l != c_slot && len(up[l]) > 0 -> lose_up(l) }    /* lost */

active proctype everything() {
    do
    SLOT(1)
    SLOT(2)
    SLOT(3)
    /* the server */
    :: d_step { s_slot && !s_ended && len(up[s_slot]) > 0 -> heard(s_slot) }
    :: d_step { CAN_EMIT && !s_ended && s_next <= s_last -> sends() }
    :: d_step { CAN_EMIT && !s_ended && s_next > s_last && s_told < s_safe -> emit(s_slot, ack, 0, 0, 0) }
    :: d_step { s_safe < s_taken && !s_lost -> passed_on() }
    :: d_step { given_down < DOWN && !s_ended -> handed_down() }
    :: d_step { s_slot && s_slot != c_slot && len(up[s_slot]) == 0 -> rests() }   /* sees the end of it */
    :: d_step { ENDS && !s_ended && !server_crashes -> s_ended = true;
        if :: s_slot && s_slot == c_slot && len(down) < DEPTH -> emit(s_slot, close, KICKED, s_taken, 0) :: else fi;
        if :: s_slot -> unbinds(s_slot); rests() :: else fi }
    /* the client */
    :: d_step { !c_slot && !c_over && (FREE(1) || FREE(2) || FREE(3)) -> connects() }
    :: d_step { c_slot && len(down) > 0 -> gets() }
    :: d_step { CAN_SAY && !c_confirmed -> says(ack, 0, 0) }
    :: d_step { CAN_SAY && c_told < c_safe && !HAS_DATA -> says(ack, 0, 0) }
    :: d_step { CAN_SAY && HAS_DATA -> says_data() }
    :: d_step { c_slot && unheard && len(down) == 0 -> leaves() }
    :: d_step { c_safe < c_taken -> c_safe = c_taken }
    :: d_step { saves < SAVES && c_confirmed -> saves++; writes_state() }
    /* what goes wrong */
    :: d_step { cuts < CUTS && c_slot -> cuts++; leaves() }             /* what it had sent may still arrive */
    :: d_step { cuts < CUTS && s_slot && s_slot == c_slot -> cuts++; unbinds(s_slot); rests() }
    :: d_step { server_crashes < SERVER_CRASHES && !s_ended -> server_crashes_to(0) }
    :: d_step { server_crashes < SERVER_CRASHES && !s_ended && s_safe -> server_crashes_to(s_safe) }
    :: d_step { server_crashes < SERVER_CRASHES && !s_ended && s_safe > 1 -> server_crashes_to(s_safe - 1) }
    :: d_step { client_crashes < CLIENT_CRASHES -> client_crash() }
    :: d_step { forged < FORGED -> forged++;
        h = s_last; a = s_generation; b = s_epoch; c = 0; d = 0; e = 0; resumed(FORGER, false) }
#ifdef MUTANT_QUEUED_IS_SENT
    :: d_step { !c_slot && given_up < UP ->
        c_sent++; given_up++; c_packet[c_sent] = given_up; c_high = MAX(c_high, c_sent) }
#endif
#ifdef MUTANT_OLD_LINK_HEARD
    :: d_step { left && s_slot && left != c_slot && len(up[left]) > 0 -> up[left]?k,h,a,b,c,d,e;
        if :: k == data -> s_taken++; s_packet[s_taken] = a :: else fi }
#endif
    :: timeout -> break
    od;
    /* Nothing can happen any more: everything has arrived, or was told. */
    if
    :: c_over ->
        for (i : 1 .. c_sent) { assert((i <= over_taken) == ((arrived & BIT(c_packet[i])) != 0)) }  /* 18: the counts */
    :: else ->
        assert(!s_ended && c_slot && c_slot == s_slot && c_confirmed);
        assert(given_up == UP && ((BIT(UP + 1) - 2) & ~(arrived | unsure | wiped)) == 0);
        assert(given_down == DOWN && (got_down == DOWN || gap_told));
        assert(c_acked == c_sent && s_base == s_last)                   /* and nothing is kept for ever */
    fi
}
