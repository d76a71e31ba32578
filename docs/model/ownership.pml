/* Who owns a session where several nodes share a store: takes, releases, force, leases, terms, lost and late requests.
 * What goes on in the session is left out but for the client's numbers, which show whether two owners have served it;
 * secrets.pml and numbers.pml have the rest.
 *
 * A session belongs to an instance of a node (a process), under a term that grows with each take. An owner that is
 * asked for it gives it up with its numbers, and the next one goes on with the same epoch (SPEC 17). Taken from an owner
 * that is dead, or silent, it goes on with another epoch, which is the term: what was under way is told as uncertain.
 * A node that cannot reach the store goes on with the sessions that it has. */

#ifndef UP
#define UP 2
#endif
#ifndef CUTS
#define CUTS 1                  /* the client leaves a connection; what it had sent there may still arrive */
#endif
#ifndef LOST
#define LOST 1                  /* requests that are lost, or their answers */
#endif
#ifndef LATE
#define LATE 0                  /* requests that are carried out once more, later */
#endif
#ifndef FORCES
#define FORCES 1                /* nodes that wait for an owner in vain, as they see it */
#endif
#ifndef LAPSES
#define LAPSES 0                /* leases that end though their node lives */
#endif
#ifndef CRASHES
#define CRASHES 0               /* of node 1, once: another instance takes its place */
#endif

#define BIT(n) (1 << (n))
#define MAX(x, y) ((x) > (y) -> (x) : (y))
#define SLOTS 2

mtype = { resume, data, welcome, ack, closed, take, force, release, disown };

/* The client. `unsure`: packets that it was told are uncertain; it does not send those again. */
byte c_slot = 1, c_epoch = 1, c_sent, c_acked, c_next = 1, c_tries; bool c_welcomed = true;
int unsure;
chan up[SLOTS + 1] = [3] of { mtype, byte, byte, byte };                /* epoch, sent, acked; or a number */
chan down[SLOTS + 1] = [4] of { mtype, byte, byte, byte };              /* epoch, taken, first uncertain; or a number */
byte at[SLOTS + 1];             /* the node of each connection; 0: it is free */
byte attempt[SLOTS + 1];        /* which of the client's it is: secrets.pml says how older ones are told apart */

/* The store: one session, and which instances have a lease. */
byte s_owner = 1, s_term = 1, s_epoch = 1, s_taken, s_safe, s_newest; bool s_exact;
bool lease[4];

/* The nodes. `has`: the session is in the memory. `op`: what it wants of the store, until it has an answer. Up to `base`
 * packets are uncertain, and safe when the client knows that. */
byte inst[3]; bool has[3], asked[3]; byte ask_term[3], term[3], epoch[3], taken[3], safe[3], base[3], newest[3];
byte link[3], waiting[3], told[3];
mtype op[3]; byte op_term[3], op_epoch[3], op_taken[3], op_safe[3];
byte seen[3];                   /* the term of an owner that was asked */
mtype late = 0; byte late_inst, late_term, late_epoch, late_taken, late_safe;

int given;                      /* packets that a master has */
byte cuts, lost, lates, forces, lapses, crashes;

hidden mtype k; hidden byte a, b, c, i, old, first, got, who, cut;

/* ---- connections */

inline lose_up(l) { do :: len(up[l]) > 0 -> up[l]?_,_,_,_ :: else -> break od }
inline lose_down(l) { do :: len(down[l]) > 0 -> down[l]?_,_,_,_ :: else -> break od }

inline hang_up(n, l) {          /* the node ends a connection */
    lose_up(l);
    if :: link[n] == l -> link[n] = 0 :: else fi;
    if :: waiting[n] == l -> waiting[n] = 0 :: else fi;
    if :: c_slot == l -> down[l]!closed,0,0,0 :: else at[l] = 0 fi
}

/* ---- a node */

#define SERVES(n) (has[n] && op[n] != release)          /* a node that gives a session up has given it up */

inline drops(n) { has[n] = false; cut = link[n]; if :: cut -> hang_up(n, cut) :: else fi }      /* it was fenced */

inline to_master(n) {
    for (i : safe[n] + 1 .. taken[n]) {
        assert(!(given & BIT(i)));                                      /* once */
        given = given | BIT(i)
    };
    safe[n] = taken[n]
}

inline enters(n, l, e, sent, acked) {   /* a client that resumes is let in: core/delivery.py, agree */
    cut = link[n]; if :: cut && cut != l -> hang_up(n, cut) :: else fi;
    assert(!SERVES(3 - n) || epoch[3 - n] != epoch[n]);                    /* one memory of each epoch */
    assert(epoch[n] >= e);                                              /* and none that the client has left behind */
    link[n] = l; told[n] = 0; first = 0;
    if
    :: e == epoch[n] -> safe[n] = MAX(safe[n], base[n])
    :: else ->
        if :: MAX(taken[n], sent) > MAX(safe[n], acked) -> first = MAX(safe[n], acked) + 1 :: else fi;
        taken[n] = MAX(taken[n], sent); base[n] = taken[n]
    fi;
    if :: c_slot == l -> down[l]!welcome,epoch[n],taken[n],first :: else link[n] = 0; at[l] = 0 fi
}

inline resumes(n, l, e, sent, acked) {
#ifndef MUTANT_OLDER_EPOCH_SERVED
    if :: SERVES(n) && epoch[n] < e -> drops(n) :: else fi;                /* somebody else has had it since */
#endif
    if
    :: has[n] && attempt[l] < newest[n] -> hang_up(n, l)                /* superseded */
#ifdef MUTANT_SERVED_WHILE_GIVEN
    :: has[n] && attempt[l] >= newest[n] -> enters(n, l, e, sent, acked)
#else
    :: SERVES(n) && attempt[l] >= newest[n] -> enters(n, l, e, sent, acked)
#endif
    :: else ->
        cut = waiting[n]; if :: cut -> hang_up(n, cut) :: else fi;
        waiting[n] = l; up[l]!resume,e,sent,acked;                      /* it is let in once the session is here */
        if :: !op[n] -> op[n] = take :: else fi
    fi
}

#ifdef MUTANT_GIVEN_UNWRITTEN
#define MAY_GIVE(n) true
#else
#define MAY_GIVE(n) (safe[n] == taken[n] || safe[n] < base[n])
#endif

inline is_asked(n) {
    if
    :: has[n] && term[n] == ask_term[n] ->                              /* closes the link, then writes to its master */
#ifndef MUTANT_READ_WHILE_GIVEN
        cut = link[n]; if :: cut -> hang_up(n, cut) :: else fi;
#endif
        op[n] = release; op_term[n] = term[n]; op_epoch[n] = epoch[n]; op_taken[n] = taken[n]; op_safe[n] = safe[n]
#ifndef MUTANT_UNKNOWN_IS_SILENT
    :: !has[n] -> op[n] = disown; op_term[n] = ask_term[n]              /* a take of its own that it knows nothing of */
#endif
    :: else -> skip
    fi;
    asked[n] = false
}

inline wakes(n) {               /* an answer has come: whoever waits is looked at anew */
    if
    :: waiting[n] ->
        old = waiting[n]; waiting[n] = 0;
        up[old]?_,a,b,c;
        resumes(n, old, a, b, c)
    :: else fi
}

/* ---- the store: each is one script. `got`: the session is the instance's now */

inline hand_out(x, exact) { s_owner = x; s_term++; s_exact = exact; got = true }

inline takes(x) {
    got = false;
    if
    :: s_owner == x -> got = true                                       /* said again: the same answer */
    :: s_owner == 0 -> hand_out(x, s_exact)
#ifdef MUTANT_NUMBERS_OF_THE_DEAD
    :: s_owner && s_owner != x && !lease[s_owner] -> hand_out(x, true)
#else
    :: s_owner && s_owner != x && !lease[s_owner] -> hand_out(x, false)
#endif
    :: else -> skip
    fi
}

#ifdef MUTANT_FENCED_WRITES
#define IS_OWNER(x, t) (s_owner == x || t < s_term)
#else
#define IS_OWNER(x, t) (s_owner == x && s_term == t)
#endif

inline carries_out(what, x, t, e, n, m) {
    got = false;
    if
    :: what == take -> takes(x)
    :: what == force ->
        if
#ifdef MUTANT_FORCE_KEEPS_EPOCH
        :: s_owner && s_owner != x && s_term == t -> hand_out(x, true)
#else
        :: s_owner && s_owner != x && s_term == t -> hand_out(x, false)
#endif
        :: else -> takes(x)
        fi
    :: what == release ->
        if :: IS_OWNER(x, t) -> assert(t == s_term); s_owner = 0; s_exact = true; s_epoch = e; s_taken = n; s_safe = m :: else fi
    :: what == disown ->
        if :: s_owner == x && s_term == t -> s_owner = 0; s_exact = false :: else fi
    fi
}

inline asks(n) {                /* the node is told whose it is, and that one that it is wanted */
    if
#ifndef MUTANT_ASKED_WITHOUT_END
    :: seen[n] && seen[n] != s_term ->          /* it was given, to somebody else: who waits here comes back */
        cut = waiting[n]; seen[n] = 0;
        if :: cut -> hang_up(n, cut) :: else fi
#endif
    :: else ->
        op[n] = take; seen[n] = s_term;         /* it is asked for again when it is told, or is forced */
        if
        :: s_owner == inst[3 - n] -> asked[3 - n] = true; ask_term[3 - n] = s_term
        :: else -> skip
        fi
    fi
}

inline answered(n) {
    k = op[n]; op[n] = 0;
    if
    :: got ->
        has[n] = true; term[n] = s_term; seen[n] = 0;
        if :: s_exact -> epoch[n] = s_epoch; taken[n] = s_taken; safe[n] = s_safe
           :: else -> epoch[n] = s_term; taken[n] = 0; safe[n] = 0 fi;
        base[n] = taken[n]; newest[n] = s_newest;
        wakes(n)
    :: !got && (k == release || k == disown) -> if :: k == release -> drops(n) :: else fi; wakes(n)
    :: else -> asks(n)
    fi
}

/* Waiting for an owner is no request: `op` is take, and `seen` says whose term stood there. */
#define IDLE(n) (seen[n] && s_owner && s_owner != inst[n] && lease[s_owner] && s_term == seen[n])

#define NODE(n) \
    :: d_step { op[n] == take && seen[n] && !waiting[n] -> op[n] = 0; seen[n] = 0 }     /* nobody waits */ \
    :: d_step { op[n] == take && !IDLE(n) && (!seen[n] || waiting[n]) -> \
        carries_out(take, inst[n], 0, 0, 0, 0); answered(n) } \
    :: d_step { op[n] == take && IDLE(n) && waiting[n] && forces < FORCES -> \
        forces++; op[n] = force; op_term[n] = seen[n] } \
    :: d_step { op[n] == force -> carries_out(force, inst[n], op_term[n], 0, 0, 0); answered(n) } \
    :: d_step { (op[n] == release && MAY_GIVE(n)) || op[n] == disown -> \
        carries_out(op[n], inst[n], op_term[n], op_epoch[n], op_taken[n], op_safe[n]); answered(n) } \
    :: d_step { lost < LOST && (op[n] == force || (op[n] == take && !IDLE(n)) || op[n] == disown || \
        (op[n] == release && MAY_GIVE(n))) -> lost++; \
        carries_out(op[n], inst[n], op_term[n], op_epoch[n], op_taken[n], op_safe[n]) }     /* done, and nobody knows */ \
    :: d_step { lates < LATE && !late && (op[n] == force || (op[n] == take && !IDLE(n)) || \
        (op[n] == release && MAY_GIVE(n))) -> lates++; \
        late = op[n]; late_inst = inst[n]; late_term = op_term[n]; late_epoch = op_epoch[n]; late_taken = op_taken[n]; \
        late_safe = op_safe[n] } \
    :: d_step { asked[n] && !op[n] -> is_asked(n) } \
    :: d_step { has[n] && safe[n] < taken[n] && safe[n] >= base[n] -> to_master(n) } \
    :: d_step { link[n] && c_slot == link[n] && told[n] < safe[n] && len(down[link[n]]) < 2 -> \
        down[link[n]]!ack,safe[n],0,0; told[n] = safe[n] } \
    :: d_step { lapses < LAPSES && lease[inst[n]] -> lapses++; lease[inst[n]] = false } \
    :: d_step { !lease[inst[n]] -> lease[inst[n]] = true } \
    :: d_step { has[n] && s_term != term[n] && op[n] != release -> drops(n) }   /* a write of it was refused */

/* ---- the client */

inline leaves() {               /* what it has sent may still be read there */
    if :: len(up[c_slot]) == 0 && link[at[c_slot]] != c_slot && waiting[at[c_slot]] != c_slot -> at[c_slot] = 0 :: else fi;
    lose_down(c_slot); c_slot = 0; c_welcomed = false
}

inline connects(n) {
    c_tries++;
    /* No duel without end: each is closed for something. */
    assert(c_tries <= 3 + 3 * (cuts + forces + lapses + crashes + lost + lates));
    c_slot = (at[1] == 0 -> 1 : 2); at[c_slot] = n; attempt[c_slot] = c_tries;
    up[c_slot]!resume,c_epoch,c_sent,c_acked
}

inline hears() {
    down[c_slot]?k,a,b,c;
    if
    :: k == welcome ->
        c_welcomed = true; c_epoch = a; c_next = b + 1; who = at[c_slot];
        if :: link[who] == c_slot ->                                    /* which confirms it */
            safe[who] = MAX(safe[who], base[who]); newest[who] = attempt[c_slot];
            if :: s_owner == inst[who] && s_term == term[who] -> s_newest = newest[who] :: else fi
        :: else fi;
        if :: c -> for (i : c .. b) { unsure = unsure | BIT(i) }; c_acked = MAX(c_acked, b) :: else fi
    :: k == ack ->
        for (i : 1 .. a) { assert((given | unsure) & BIT(i)) };         /* what is acknowledged has arrived */
        c_acked = MAX(c_acked, a)
    :: k == closed -> at[c_slot] = 0; lose_up(c_slot); lose_down(c_slot); c_slot = 0; c_welcomed = false
    fi
}

/* ---- everything that can happen */

#define SLOT(l) \
    :: d_step { at[l] && len(up[l]) > 0 && waiting[at[l]] != l && link[at[l]] != l -> up[l]?k,a,b,c; who = at[l]; \
        if :: k == resume -> resumes(who, l, a, b, c) \
           :: else -> lose_up(l); if :: c_slot != l -> at[l] = 0 :: else fi fi } \
    :: d_step { at[l] && len(up[l]) > 0 && link[at[l]] == l -> up[l]?k,a,b,c; \
        if :: k == data && a == taken[at[l]] + 1 -> taken[at[l]] = a :: else fi } \
    :: d_step { at[l] && c_slot != l && waiting[at[l]] != l && len(up[l]) == 0 -> \
        if :: link[at[l]] == l -> link[at[l]] = 0 :: else fi; at[l] = 0 } \
    :: d_step { at[l] && c_slot != l && waiting[at[l]] == l -> waiting[at[l]] = 0; lose_up(l); at[l] = 0 }

active proctype everything() {
    inst[1] = 1; inst[2] = 2; lease[1] = true; lease[2] = true;
    has[1] = true; term[1] = 1; epoch[1] = 1; link[1] = 1; at[1] = 1;
    do
    NODE(1)
    NODE(2)
    SLOT(1)
    SLOT(2)
    :: d_step { late -> carries_out(late, late_inst, late_term, late_epoch, late_taken, late_safe); late = 0 }
    :: d_step { !c_slot && (at[1] == 0 || at[2] == 0) -> connects(1) }
    :: d_step { !c_slot && (at[1] == 0 || at[2] == 0) -> connects(2) }
    :: d_step { c_slot && len(down[c_slot]) > 0 -> hears() }
    :: d_step { c_slot && c_welcomed && c_next <= UP && len(up[c_slot]) < 2 ->
        up[c_slot]!data,c_next,0,0; c_sent = MAX(c_sent, c_next); c_next++ }
    :: d_step { cuts < CUTS && c_slot -> cuts++; leaves() }
    :: d_step { crashes < CRASHES && inst[1] == 1 -> crashes++;
        has[1] = false; op[1] = 0; asked[1] = false; seen[1] = 0; lease[1] = false;
        inst[1] = 3; lease[3] = true;
        if :: at[1] == 1 -> hang_up(1, 1) :: else fi;
        if :: at[2] == 1 -> hang_up(1, 2) :: else fi;
        link[1] = 0; waiting[1] = 0; taken[1] = 0; safe[1] = 0; base[1] = 0 }
    :: timeout -> break
    od;
    /* Nothing can happen any more: the client has its session, and everything arrived or was told. */
    assert(c_slot && c_welcomed && link[at[c_slot]] == c_slot);
    assert(c_next == UP + 1 && c_acked == UP);
    for (i : 1 .. UP) { assert((given | unsure) & BIT(i)) };
    assert(has[at[c_slot]] && s_owner == inst[at[c_slot]] && s_term == term[at[c_slot]])    /* it is the owner */
}
