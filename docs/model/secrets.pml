/* Who has a session: handles, secrets and their generations, copies of a client, captured records: SPEC.txt, sections
 * 13 and 14. What is sent in the session is left out; numbers.pml has it.
 *
 * Client 1 opens a session with a handle. Client 2, if there is one, is a copy of the first one's state, made at any
 * moment, that goes on on its own (a duplicated tab, or a backup that was played back). Client 3 has no secret: it
 * may open with the handle, and play again what others sent.
 * A secret is a number; a proof is the secret and the number of the handshake (its transcript), and so is the seal of a
 * record: what was sent in one handshake does not open in another. */

#ifndef CUTS
#define CUTS 2                  /* connections that end, at any point; what was sent on them may still arrive */
#endif
#ifndef COPIES
#define COPIES 0
#endif
#ifndef SERVER_CRASHES
#define SERVER_CRASHES 0        /* kill -9; what is in the journal is there again */
#endif
#ifndef FORGETS
#define FORGETS 0               /* 1: the server may crash and keep nothing at all */
#endif
#ifndef CLIENT_CRASHES
#define CLIENT_CRASHES 0        /* of client 1, which is restored from what it wrote last */
#endif
#ifndef ATTACKS
#define ATTACKS 0
#endif

#define SLOTS 3
#define CLIENTS 2
#define ATTACKER 3
#define FORGED 200
#define BIT(n) (1 << (n))
#define MAX(x, y) ((x) > (y) -> (x) : (y))

/* open: secret, transcript. resume: generation, secret, transcript. record: any, behind the welcome.
 * welcome: generation, secret. close: code. */
#define TAKEN_OVER 7            /* 3007 */
#define UNKNOWN 1               /* 3501 */
#define WRONG 2                 /* 3502 */
#define SUPERSEDED 3            /* 3503 */
mtype = { open, resume, record, welcome, close };
chan up[SLOTS + 1] = [2] of { mtype, byte, byte, byte };
chan down[CLIENTS + 1] = [2] of { mtype, byte, byte };                  /* of the connection that the client is on */
byte owner[SLOTS + 1];          /* who connected; 0: free */
byte transcript[SLOTS + 1], transcripts;

/* The clients. `opened`: it has had a welcome. `over`: it was told not to come back. */
bool alive[CLIENTS + 1], opened[CLIENTS + 1], welcomed[CLIENTS + 1], confirmed[CLIENTS + 1], unheard[CLIENTS + 1];
byte over[CLIENTS + 1], slot[CLIENTS + 1], generation[CLIENTS + 1], secret[CLIENTS + 1];
bool w_opened; byte w_generation, w_secret = 1;                         /* what client 1 wrote (14) */
#ifdef MUTANT_OLDER_SECRET_USED
byte w_older_generation, w_older_secret = 1;
#endif

/* The server: the session, and what the journal has of it. Secret 1 is the client's, in open. */
bool s_exists, s_handle, j_exists, j_handle;
byte s_slot, s_generation, s_secret, j_generation, j_secret, secrets = 1;
int s_next, j_next;             /* the secrets (branches) of the next generation that were told, a bit each; 0: none */
byte s_branch;                  /* the one that was told on the connection that has the session */
byte sessions;                  /* that were ever opened for the handle */
byte newest;                    /* the highest generation that was ever confirmed */

byte cuts, copies, server_crashes, client_crashes, attacks, tries;
bool forgotten;
mtype seen = 0; byte seen_a, seen_b, seen_c;                            /* what the attacker has captured */

hidden mtype k;
hidden byte a, b, c, who, old;

inline lose_up(l) {
    if :: len(up[l]) > 0 -> up[l]?_,_,_,_ :: else fi;
    if :: len(up[l]) > 0 -> up[l]?_,_,_,_ :: else fi
}
inline lose_down(x) {
    if :: len(down[x]) > 0 -> down[x]?_,_,_ :: else fi;
    if :: len(down[x]) > 0 -> down[x]?_,_,_ :: else fi
}
#define ON(l) (l && owner[l] && owner[l] != ATTACKER && slot[owner[l]] == l)        /* its client is still there */

/* ---- the server ---- */

inline to_journal() {           /* before it is told (14) */
    j_exists = s_exists; j_handle = s_handle; j_generation = s_generation; j_secret = s_secret; j_next = s_next;
#ifdef MUTANT_NEXT_NOT_JOURNALED
    j_next = 0;
#endif
#ifdef MUTANT_HANDLE_NOT_JOURNALED
    j_handle = false; j_exists = s_exists && s_generation;
#endif
}

inline unbinds() {              /* nobody listens there any more */
    lose_up(s_slot);
    if :: ON(s_slot) -> unheard[owner[s_slot]] = true :: else owner[s_slot] = 0 fi;
    s_slot = 0
}

inline advance(branch) {        /* the next generation becomes the present one, the one before is superseded (14) */
    s_generation++; s_secret = branch; s_next = 0; newest = MAX(newest, s_generation);
#ifdef MUTANT_HANDLE_FORGOTTEN
    s_handle = false;
#endif
#ifndef MUTANT_CONFIRMATION_NOT_JOURNALED
    to_journal()
#endif
}

inline refuse(l, code) {
    lose_up(l);
    if :: ON(l) -> down[owner[l]]!close,code,0; unheard[owner[l]] = true :: else owner[l] = 0 fi
}

inline bind(l, x) {       /* after the proof, and nothing before it: k a b c is what was proven */
    assert(x != ATTACKER);                                              /* a captured record never gets a session */
    if :: k == resume -> assert(a >= newest) :: else assert(newest == 0) fi;     /* nor does a superseded generation */
    if :: s_slot && s_slot != l ->
        if :: ON(s_slot) && len(down[owner[s_slot]]) < 2 -> down[owner[s_slot]]!close,TAKEN_OVER,0 :: else fi;
        unbinds()
    :: else fi;
    s_slot = l;
#ifdef MUTANT_NEXT_SHARED                       /* one for all who are answered: copies cannot be told apart */
    if :: !s_next -> secrets++; s_branch = secrets :: else fi;
#else
    if :: ON(l) -> secrets++; s_branch = secrets :: else s_branch = 0 fi;       /* (0: one that nobody hears of) */
#endif
#ifdef MUTANT_NEXT_MADE_ANEW
    s_next = BIT(s_branch);
#else
    s_next = s_next | BIT(s_branch);            /* each that was told holds until one is confirmed */
#endif
    to_journal();
    if :: ON(l) -> down[x]!welcome,s_generation + 1,s_branch :: else fi;
#ifdef MUTANT_SUPERSEDED_WHEN_TOLD
    advance(s_branch);
#endif
    skip
}

#ifdef MUTANT_PROOF_NOT_BOUND
#define SEALED_FOR(t) true
#else
#define SEALED_FOR(t) (c == t)
#endif

inline first_record(l, x, t) {
    if
    :: !SEALED_FOR(t) -> refuse(l, WRONG)
    :: SEALED_FOR(t) && k == open ->
        if
#ifdef MUTANT_OPEN_NOT_IDEMPOTENT
        :: true ->
#else
        :: !s_handle ->
#endif
            if :: b == FORGED -> refuse(l, WRONG)                    /* (the attacker's own session is nobody's loss) */
            :: else ->
                assert(!sessions || forgotten);                         /* open again is not a second client (13) */
                sessions++; s_exists = true; s_handle = true; s_generation = 0; s_secret = b; s_next = 0; bind(l, x)
            fi
#ifndef MUTANT_OPEN_NOT_IDEMPOTENT
        :: s_handle && s_generation -> refuse(l, SUPERSEDED)            /* confirmed: generation 0 is superseded */
#ifdef MUTANT_HANDLE_IS_ENOUGH
        :: s_handle && !s_generation -> bind(l, x)
#else
        :: s_handle && !s_generation && b == s_secret -> bind(l, x)
        :: s_handle && !s_generation && b != s_secret -> refuse(l, WRONG)
#endif
#endif
        fi
    :: SEALED_FOR(t) && k == resume ->
        if
        :: !s_exists -> refuse(l, UNKNOWN)
        :: s_exists && a == s_generation && b == s_secret -> bind(l, x)
#ifndef MUTANT_NEXT_REFUSED
        :: s_exists && a == s_generation + 1 && (s_next & BIT(b)) -> advance(b); bind(l, x)    /* a proof confirms */
#endif
#ifdef MUTANT_SUPERSEDED_ACCEPTED
        :: s_exists && a + 1 == s_generation -> bind(l, x)
        :: s_exists && a + 1 < s_generation -> refuse(l, SUPERSEDED)
#else
        :: s_exists && a < s_generation -> refuse(l, SUPERSEDED)
#endif
        :: else -> refuse(l, WRONG)
        fi
    :: else -> skip
    fi
}

inline crashes(keeps) {
    if :: s_slot -> unbinds() :: else fi;
    lose_up(1); lose_up(2); lose_up(3);
    if :: ON(1) -> unheard[owner[1]] = true :: else owner[1] = 0 fi;
    if :: ON(2) -> unheard[owner[2]] = true :: else owner[2] = 0 fi;
    if :: ON(3) -> unheard[owner[3]] = true :: else owner[3] = 0 fi;
    if :: !keeps ->
        forgotten = true; j_exists = false; j_handle = false; j_generation = 0; j_secret = 0; j_next = 0
    :: else fi;
    s_exists = j_exists; s_handle = j_handle; s_generation = j_generation; s_secret = j_secret; s_next = j_next
}

/* ---- the clients ---- */

inline leaves(x) {
    if :: unheard[x] && slot[x] -> owner[slot[x]] = 0 :: else fi;
    if :: slot[x] && slot[x] != s_slot && len(up[slot[x]]) == 0 -> owner[slot[x]] = 0 :: else fi;
    slot[x] = 0; welcomed[x] = false; confirmed[x] = false; unheard[x] = false; lose_down(x)
}

inline writes(x) {              /* before the new secret is used for anything (14) */
    if :: x == 1 && CLIENT_CRASHES && w_secret != secret[1] ->
#ifdef MUTANT_OLDER_SECRET_USED
        w_older_generation = w_generation; w_older_secret = w_secret;
#endif
        w_opened = opened[1]; w_generation = generation[1]; w_secret = secret[1]
    :: else fi
}

#define FREE(l) (owner[l] == 0)

inline connects(x) {
    writes(x);
    tries++;
    /* No livelock, and no endless duel. */
    assert(tries <= 1 + 2 * (cuts + client_crashes) + (1 + copies) * (server_crashes + forgotten) + 4 * copies);
    old = (FREE(1) -> 1 : (FREE(2) -> 2 : 3));
    transcripts++; transcript[old] = transcripts; owner[old] = x; slot[x] = old;
    if
    :: opened[x] -> up[old]!resume,generation[x],secret[x],transcripts
    :: else -> up[old]!open,0,secret[x],transcripts
    fi
}

inline gets(x) {
    down[x]?k,a,b;
    if
    :: k == welcome -> opened[x] = true; welcomed[x] = true; generation[x] = a; secret[x] = b
    :: k == close && a == TAKEN_OVER -> leaves(x)                       /* once more; generations decide (18) */
    :: k == close && a != TAKEN_OVER ->
        assert(forgotten || copies);                                    /* who has all that it needs is never refused */
        if :: a == SUPERSEDED -> assert(forgotten || newest > generation[x] || (!opened[x] && newest)) :: else fi;
        over[x] = a; leaves(x)
    fi
}

/* ---- everything that can happen ---- */

#define CLIENT(x) \
    :: d_step { alive[x] && !over[x] && !slot[x] && (FREE(1) || FREE(2) || FREE(3)) -> connects(x) } \
    :: d_step { len(down[x]) > 0 -> gets(x) } \
    :: d_step { welcomed[x] && !confirmed[x] -> writes(x); confirmed[x] = true; \
        if :: !unheard[x] -> up[slot[x]]!record,0,0,0 :: else fi } \
    :: d_step { unheard[x] && len(down[x]) == 0 -> leaves(x) } \
    :: d_step { cuts < CUTS && slot[x] -> cuts++; leaves(x) }

#define SLOT(l) \
    :: d_step { l != s_slot && len(up[l]) > 0 -> up[l]?k,a,b,c; who = owner[l]; \
        if :: k != record -> first_record(l, who, transcript[l]); \
            if :: !ON(l) && l != s_slot -> owner[l] = 0 :: else fi \
        :: else fi } \
    :: d_step { owner[l] && !ON(l) && l != s_slot -> lose_up(l); owner[l] = 0 }                 /* lost on the way */ \
    :: d_step { attacks < ATTACKS && !seen && len(up[l]) > 0 && l != s_slot -> up[l]?<seen,seen_a,seen_b,seen_c> }

active proctype everything() {
    alive[1] = true; secret[1] = 1;
    do
    CLIENT(1)
    CLIENT(2)
    SLOT(1)
    SLOT(2)
    SLOT(3)
    :: d_step { s_slot && len(up[s_slot]) > 0 -> up[s_slot]?k,a,b,c; if :: s_next -> advance(s_branch) :: else fi }
    :: d_step { s_slot && !ON(s_slot) && len(up[s_slot]) == 0 -> owner[s_slot] = 0; s_slot = 0 }
    :: d_step { cuts < CUTS && s_slot && ON(s_slot) -> cuts++; unbinds() }
    :: d_step { server_crashes < SERVER_CRASHES -> server_crashes++; crashes(true) }
    :: d_step { FORGETS && !forgotten && sessions -> crashes(false) }
    :: d_step { client_crashes < CLIENT_CRASHES -> client_crashes++; leaves(1);
        opened[1] = w_opened; generation[1] = w_generation; secret[1] = w_secret;
#ifdef MUTANT_OLDER_SECRET_USED
        opened[1] = w_older_generation > 0; generation[1] = w_older_generation; secret[1] = w_older_secret;
#endif
        skip }
    :: d_step { copies < COPIES -> copies++;
        alive[2] = true; opened[2] = opened[1]; generation[2] = generation[1]; secret[2] = secret[1] }
    /* Client 3: what it has captured once more, or an open with the handle. Its handshake is its own. */
    :: d_step { attacks < ATTACKS && seen -> attacks++;
        k = seen; a = seen_a; b = seen_b; c = seen_c; first_record(0, ATTACKER, 250) }
    :: d_step { attacks < ATTACKS -> attacks++; k = open; a = 0; b = FORGED; c = 250; first_record(0, ATTACKER, 250) }
    :: timeout -> break
    od;
    /* Nothing can happen any more: one has the session, everybody else was told. */
    assert(s_slot && ON(s_slot) && confirmed[owner[s_slot]] || forgotten && over[1]);
    assert(!alive[2] || over[1] || over[2] || owner[s_slot])
}
