/**
 * A client of Voltlane for browsers and Node: version 3, suite 0, over WebSocket. It follows SPEC.txt ("SPEC 15" is its
 * section 15); voltlane.d.ts says what everything public does.
 *
 * A connection is one closure: a minifier can shorten its names, which it cannot do with an object's. What comes is
 * handled at once and in order. Only the proof has to be waited for, between the server's hello and our first record.
 */

// A minifier puts numbers in the place of these names only in front of everything else.
const DATA = 0, ACK = 1, OPEN = 2, RESUME = 4, WELCOME = 6, GAP = 8, CLOSE = 12, PING = 14, PONG = 16; // SPEC 10
const HEAD_SIZE = 17; // of a record
const BODY_SIZE = 65519 - HEAD_SIZE;
const PACKET_SIZE = 8388599;

const OUTAGE = 3001, AWAY = 3005, TAKEN_OVER = 3007, BROKEN = 3500, UNKNOWN = 3501, LEFT = 3510, TOO_LARGE = 3511; // SPEC 18
const LOST = 2; // why there is a gap, SPEC 17

const IDLE = 0, CONNECTING = 1, PROVING = 2, PROVEN = 3, LIVE = 4, OVER = 5; // where a connection is

const ACK_MS = 50;
const BUSY_MS = 1000;
const FIRST_PAUSE_MS = 100;
const STATE_HEAD = 101; // bytes of a stored state in front of its packets

const LOSS = "lost";
const host = globalThis; // for what only a page has
const isHidden = () => host.document?.hidden;
// Names of ours from here on, which a minifier can shorten.
const { Uint8Array, BigUint64Array, BigInt, Promise, setTimeout, clearTimeout, queueMicrotask } = host;
const { parse } = JSON;

// ---- bytes

const text = (bytes) => new TextDecoder().decode(bytes);
const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset);
const u64 = (bytes, at) => view(bytes).getBigUint64(at, true);
const u32 = (bytes, at) => view(bytes).getUint32(at, true);
const part = (bytes, start, end) => bytes.subarray(start, end);
const later = (one, other) => (one > other ? one : other);

/** Of a string its UTF-8. */
const bytesOf = (data) => {
  if (typeof data == "string") return new TextEncoder().encode(data);
  must(data.byteLength >= 0, "string or bytes", 0);
  return new Uint8Array(data.buffer ?? data, data.byteOffset, data.byteLength);
};

/** A number becomes a u32, a bigint a u64 (all that runs this is little-endian); bytes, and arrays of them, stay. */
const join = (...fields) => {
  const parts = fields.map((field) =>
    field.length >= 0 ? field : bytesOf((typeof field == "bigint" ? BigUint64Array : Uint32Array).of(field)),
  );
  const joined = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  parts.reduce((at, part) => (joined.set(part, at), at + part.length), 0);
  return joined;
};

const toBase64 = (bytes) => btoa(bytes.reduce((characters, byte) => characters + String.fromCharCode(byte), ""));
const fromBase64 = (characters) => Uint8Array.from(atob(characters), (character) => character.charCodeAt());
const random = (size) => crypto.getRandomValues(new Uint8Array(size));

/** Client's and server's, of the secret and bound to this connection's hellos (SPEC 13, 14). */
const proofs = async (secret, hello, answer) => {
  const { subtle } = crypto;
  const hash = bytesOf(await subtle.digest("SHA-256", join(hello, answer)));
  const key = await subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const prove = async (role) => bytesOf(await subtle.sign("HMAC", key, join(bytesOf("VOLTLANE 3 " + role), hash)));
  return Promise.all(["client", "server"].map(prove));
};

// ---- errors

const failure = (message, code, uncertain = false) => Object.assign(new Error(message), { code, uncertain });

/** Whether a close with this code ends the session for this client. */
const isFinal = (code) => /^[34][5-9]..$/.test(code);

/** The server that does what it must not is told so, and not talked to any more (SPEC 19). */
const must = (condition, otherwise, code = BROKEN) => {
  if (!condition) throw failure(otherwise, code);
};

const ignore = () => {};

// ---- a connection

export const connect = (
  url,
  {
    protocol = "v3",
    insecure,
    renew = true,
    storage,
    key = "voltlane",
    retainedBytes = 1 << 24,
    windowBytes = 1 << 18,
    heartbeat = 25000,
    timeout = 10000,
    longestPause = 10000,
    WebSocket = host.WebSocket,
    EventSource = host.EventSource,
  } = {},
) => {
  const connection = new (class extends EventTarget {
    get id() {
      return id || null;
    }

    get bufferedAmount() {
      return bytes;
    }

    get stored() {
      return stored;
    }

    send(data) {
      const promise = admit(data);
      promise.catch(ignore); // who does not look at it is told by events
      return promise;
    }

    async flush() {
      await ready; // and what was sent in this turn is kept
      await Promise.all(kept.map((entry) => entry[4]));
    }

    async close(code = LEFT, reason = "") {
      await ready;
      const late = isFinal(code) && setTimeout(leave, timeout, AWAY, "timeout");
      try {
        if (late) await connection.flush();
      } catch (error) {
        leave(AWAY, error.message); // the session stays, for whoever has its state
        throw error;
      } finally {
        clearTimeout(late);
      }
      leave(code, reason);
    }

    wake() {
      if (phase == LIVE && v3()) probe();
      if (!phase) dial(); // it is idle
    }

    addEventListener(type, ...rest) {
      super.addEventListener(type, ...rest);
      listening ||= type == "packet" && !queueMicrotask(deliver);
    }

    async *[Symbol.asyncIterator]() {
      iterating = true;
      for (let detail; (detail = await new Promise((pull) => deliver(pulls.push(pull)))); ) yield detail.data;
    }
  })();

  const target = new URL(url);
  const page = new AbortController(); // its signal ends what is listened to there

  // The session outlives connections (SPEC 13 to 15), and most of it is stored. Numbers are bigints.
  let handle, secret, generation;
  let id, branch, epoch; // 0n before the first welcome
  let safe; // the last packet that the application was given
  let last; // the last number that was given out
  let sent; // the last that may have been put on any connection
  let acked; // the highest ack
  let settled; // the last whose fate is known: safe, or told as uncertain
  // What is not known to be safe, in order: [number, frame, resolve, reject, promise]. Missing numbers nobody sends.
  const kept = [];
  let taken; // the last in the inbox, or given
  let jump; // behind a restore, until a welcome comes: what new packets are numbered above
  let stored = false, saved; // up to which packet
  let away; // the page is hidden or gone

  let bytes = 0; // of the frames in `kept`, and of those on their way there
  let inbox = []; // [number, type, detail, size]
  let waiting = 0, handed = 0; // bytes in it, and bytes that were ever given
  const pulls = [];
  let listening, iterating; // who wants packets

  // One connection.
  let socket; // a WebSocket or an EventSource
  let phase = CONNECTING;
  let events = false; // which of the two
  let timer; // of the phase: a pause, a deadline or the heartbeat
  let ackTimer, posting;
  let hello, proof; // ours; the server's as it has to be
  let limit = PACKET_SIZE, peerPackets, peerBytes; // the server's: of a packet; what it retains for us
  let next = 0, offset; // where in `kept` we are, and in its frame
  let whole; // the last number that is out in whole
  let heard, credit, spent; // the server's ack and credit
  let received, granted; // bytes of the stream of packets, and our credit for it
  let toldSafe, toldBytes;
  let box, filled, sized; // what is being received: four bytes of size, or, then, a packet
  let alive; // something has come since the heartbeat began to wait; null: nothing yet, and we have asked
  let token;

  let pause = FIRST_PAUSE_MS, failures = 0; // failures: attempts without a word from the server

  const v3 = () => protocol != "open" && !events;
  const tellClose = (code, reason, reconnecting) => tell("close", { code, reason, reconnecting });
  const tell = (type, detail) => connection.dispatchEvent(Object.assign(new Event(type), detail));

  // ---- the session's beginning, and what a reload leaves

  /** A session that no server knows. */
  const forget = () => {
    release(last);
    inbox.map((item) => (item[0] = 0n));
    handle = random(16);
    secret = random(32);
    generation = 0;
    id = branch = epoch = safe = taken = last = sent = acked = settled = jump = 0n;
    remember();
  };

  /**
   * The state is in the storage only while the page is hidden or gone. So a tab that is duplicated while it is looked
   * at has nothing to copy, and the two do not fight for the session; where both have it, the server decides (SPEC 14).
   * It has the packets if `all`: an update has them if what it replaces has, as not each can try whether they fit.
   */
  const remember = (all = true) => {
    if (!storage) return;
    saved = last;
    for (stored of away ? [all, false] : [])
      try {
        // Its last packet is not what a restore has jumped over.
        const state = join(
          ...[id, branch, epoch, safe, kept.at(-1)?.[0] ?? sent, sent, acked, settled, generation, [stored], secret],
          ...(stored ? kept.flatMap((entry) => entry.slice(0, 2)) : []),
        );
        return storage.setItem(key, toBase64(state));
      } catch {} // it does not fit: then without the packets, which become uncertain by a reload
    stored = false;
    try {
      storage.removeItem(key); // an old state is worse than none
    } catch {}
  };

  /** Throws where there is no state. It may be an older one: new packets are numbered by the clock (SPEC 17). */
  const restore = () => {
    const state = fromBase64(storage.getItem(key));
    [id, branch, epoch, safe, last, sent, acked, settled] = new BigUint64Array(state.buffer, 0, 8);
    generation = u32(state, 64);
    secret = state.slice(69, STATE_HEAD);
    handle = random(16); // where there was no welcome yet, a new one is as good
    taken = safe;
    jump = 0n;
    for (let at = STATE_HEAD; at < state.length; ) {
      const frame = state.slice(at + 8, at + 12 + u32(state, at + 8));
      bytes += frame.length;
      keep(u64(state, at), frame);
      at += 8 + frame.length;
    }
    if (!state[68]) doubt(last);
    if (!generation) return doubt(sent); // by events, which ask for no session: one may have been on its way
    sent = last; // all that is in a state counts as sent
    last = jump = later(last, BigInt(Date.now() * 1000));
  };

  // ---- connecting, and coming back

  const wait = (ms, then) => {
    clearTimeout(timer);
    timer = then && setTimeout(then, ms);
  };

  const dial = () => {
    phase = CONNECTING;
    if (!generation) id = 0n; // an id of events was for their stream
    // A server that is away looks like one that a proxy does not let us reach: the two ways take turns.
    events = protocol != "open" && EventSource && !generation && failures % 3 == 2;
    wait(timeout, silence);
    try {
      events ? openEvents() : openSocket();
    } catch (error) {
      outage(error.message);
    }
  };

  /** What goes wrong with what comes ends this connection, and once the server has proven itself the session. */
  const listenTo = (mine, handlers) => {
    socket = mine;
    for (const type in handlers)
      mine.addEventListener(type, async (event) => {
        if (mine == socket)
          try {
            await handlers[type](event);
          } catch ({ code = BROKEN, message }) {
            if (mine != socket) return;
            farewell(code, message);
            hangUp(phase < PROVEN ? OUTAGE : code, message);
          }
      });
  };

  const openSocket = () => {
    listenTo(new WebSocket(target, v3() ? ["voltlane.v3"] : []), {
      open: () => (v3() ? socket.send((hello = join([0x56, 3, 1, 0], random(32)))) : live(false)),
      message: receive,
      error: ignore, // a close follows
      close: ({ code, reason }) => hangUp(code < 3000 ? OUTAGE : code, reason || LOSS),
    });
    socket.binaryType = "arraybuffer";
  };

  const live = (resumed) => {
    phase = LIVE;
    failures = 0;
    v3() ? expect(heartbeat, probe) : wait();
    tell("open", { id: connection.id, resumed });
    pump();
  };

  /**
   * The end of a connection, and with a final code of the session: then what is not known to be safe is uncertain, up
   * to `doubtful`, the last that the server can have. `leaving`: we do not come back.
   */
  const hangUp = (code, reason, doubtful = sent, leaving) => {
    const over = isFinal(code);
    const reconnecting = !leaving && (!over || (renew && code > 3500 && code < 3505));
    const old = socket;
    socket = null;
    old?.close();
    ackTimer = clearTimeout(ackTimer);
    if (reconnecting) {
      phase = IDLE;
      failures++;
      wait(Math.random() * pause, dial);
      pause = Math.min(2 * pause, longestPause);
    } else {
      phase = OVER;
      away = !over;
      wait();
      page.abort();
    }
    if (over) doubt(doubtful);
    if (over || leaving) kept.map(([number, , , reject]) => reject(failure(reason, code, number <= doubtful)));
    if (over) forget();
    else if (leaving) {
      remember();
      inbox = inbox.filter(([number]) => !number); // what has one comes again, to whoever has the state
    }
    tellClose(code, reason, reconnecting);
    deliver();
  };

  const outage = (reason = LOSS) => hangUp(OUTAGE, reason);
  const silence = () => outage("silence");

  // ---- whether the server is there

  /** A timer that fires late, because the machine slept, does the same: it asks, or has asked in vain. */
  const expect = (ms, silent) => {
    alive = false;
    wait(ms, () => {
      if (!alive) return silent();
      pause = FIRST_PAUSE_MS; // it was a good connection
      expect(heartbeat, probe);
    });
  };

  const probe = () => {
    if (alive == null) return; // who asks again and again would never have the answer's deadline
    emit(PING);
    expect(timeout / 2, silence); // somebody may be waiting
    alive = null;
  };

  // ---- the handshake (SPEC 11 to 14)

  const receive = ({ data }) => {
    alive = true;
    const message = bytesOf(data);
    if (!v3()) return arrive("packet", { data: message });
    return phase == CONNECTING ? onHello(message) : onRecord(message);
  };

  const onHello = async (answer) => {
    const mine = socket;
    failures = 0;
    if (answer[1] == 255) return outage("refused: " + text(part(answer, 4)));
    must(answer[0] == 0x56 && !answer[1] && !answer[34], "hello");
    limit = u32(answer, 35);
    peerPackets = u32(answer, 39);
    peerBytes = u32(answer, 43);
    phase = PROVING;
    proof = 0;
    const [ours, theirs] = await proofs(secret, hello, answer);
    if (mine != socket) return;
    proof = theirs;
    spent = received = granted = filled = 0;
    sized = false;
    box = new Uint8Array(4);
    // 0: it does not say how many packets it retains, but how many bytes of them.
    if (id) emit(RESUME, id, generation, branch, ours, epoch, taken, sent, acked, 0, retainedBytes);
    else emit(OPEN, handle, secret, 0, retainedBytes);
  };

  const onWelcome = (ack, newCredit, body) => {
    if (!proof || proof.some((byte, at) => byte != body[8 + at])) return outage("proof");
    phase = PROVEN;
    const resumed = !!id, oldEpoch = epoch;
    id = u64(body, 0);
    epoch = u64(body, 40);
    generation = u32(body, 48);
    branch = u64(body, 52);
    secret = body.slice(60, 92);
    whole = u64(body, 92);
    must(whole >= acked && whole <= later(sent, jump), "taken");
    sent = later(sent, whole);
    jump = 0n;
    heard = 0n;
    credit = 0;
    onHead(ack, newCredit);
    if (resumed && epoch != oldEpoch) doubt(whole);
    next = offset = 0;
    if (away) remember(stored); // before any of it is used
    phase = LIVE;
    emit(ACK); // which confirms it
    live(resumed);
  };

  // ---- records (SPEC 10)

  const onRecord = (record) => {
    const [kind] = record, ack = u64(record, 1), newCredit = Number(u64(record, 9)), body = part(record, HEAD_SIZE);
    if (kind == CLOSE) return onClose(ack, body);
    const handler = handlers[kind];
    // A pong, or what is unknown and odd, is nothing but its ack and credit.
    must(phase == LIVE ? handler || kind == PONG || kind % 2 : kind == WELCOME, "kind " + kind);
    if (phase != LIVE) return onWelcome(ack, newCredit, body);
    onHead(ack, newCredit);
    handler?.(body);
    pump();
  };

  const onHead = (ack, newCredit) => {
    must(ack >= heard && ack <= whole && newCredit >= credit, "ack");
    heard = ack;
    credit = newCredit;
    acknowledge(ack);
  };

  const handlers = {
    [DATA](body) {
      received += body.length;
      must(received <= granted, "credit");
      for (let at = 0; ; ) {
        const piece = part(body, at, at + box.length - filled);
        box.set(piece, filled);
        at += piece.length;
        filled += piece.length;
        if (filled < box.length) break;
        const size = sized ? 4 : u32(box, 0);
        must(size <= PACKET_SIZE, "size", TOO_LARGE);
        if (sized) put(++taken, "packet", { data: box });
        sized = !sized;
        box = new Uint8Array(size);
        filled = 0;
      }
      deliver();
    },

    [GAP](body) {
      const first = u64(body, 0), end = u64(body, 8);
      must(!sized && !filled && first <= taken + 1n && first <= end && end < 1n << 63n, "gap");
      if (end <= taken) return;
      put(end, "gap", { first: taken + 1n, last: end, why: body[16] });
      taken = end;
      deliver();
    },

    [PING](body) {
      must(body.length <= 64, "ping");
      emit(PONG, body);
    },
  };

  const onClose = (ack, body) => {
    const code = u32(body, 0) & 65535;
    // In the place of a welcome some are said to anybody, and say nothing.
    const told = phase == LIVE || /350[467]|3512/.test(code);
    if (told && ack <= sent) acknowledge(ack);
    hangUp(code, text(part(body, 10)), told ? u64(body, 2) : sent);
  };

  const farewell = (code, reason) => {
    if (phase == LIVE && v3()) emit(CLOSE, [code & 255, code >> 8], taken, bytesOf(reason));
  };

  const emit = (kind, ...body) => {
    granted = room();
    toldSafe = safe;
    toldBytes = handed;
    ackTimer = clearTimeout(ackTimer);
    socket.send(join([kind], safe, BigInt(granted), ...body));
  };

  // ---- what is sent (SPEC 15 to 17)

  const admit = async (data) => {
    const packet = bytesOf(data), frame = join(packet.length, packet);
    must(packet.length <= limit, "over " + limit + " bytes", TOO_LARGE);
    must(!bytes || bytes + frame.length <= retainedBytes, "over retainedBytes", 0);
    bytes += frame.length;
    await ready;
    must(phase < OVER, "closed", LEFT);
    const promise = keep(++last, frame);
    queueMicrotask(pump); // behind all that is sent in this turn: it goes together, as each record costs
    return promise;
  };

  const keep = (number, frame) => {
    const promise = new Promise((...settlers) => kept.push([number, frame, ...settlers]));
    promise.catch(ignore);
    kept.at(-1).push(promise);
    return promise;
  };

  const pump = () => {
    if (away && last > saved) remember(stored);
    if (phase != LIVE || posting) return;
    if (events) return kept[0] && post();
    if (v3()) {
      while (fill());
      return owe();
    }
    for (const [, frame] of kept) socket.send(part(frame, 4));
    settle(last);
  };

  /** A record of data, if there is any and credit for it; in front of it a gap of numbers that are missing. */
  const fill = () => {
    const pieces = [];
    let left = Math.min(BODY_SIZE, credit - spent), entry;
    while (left && (entry = kept[next]) && (!pieces[0] || entry[0] == whole + 1n)) {
      const [number, frame] = entry;
      if (number <= whole) {
        next++; // the server has it
        continue;
      }
      if (number > whole + 1n) {
        emit(GAP, whole + 1n, number - 1n, [LOST]);
        whole = number - 1n;
      }
      const piece = part(frame, offset, offset + left);
      pieces.push(piece);
      offset += piece.length;
      left -= piece.length;
      spent += piece.length;
      sent = later(sent, number);
      if (offset == frame.length) {
        whole = number;
        offset = 0;
        next++;
      }
    }
    if (pieces[0]) emit(DATA, ...pieces);
    return pieces[0];
  };

  const acknowledge = (ack) => {
    acked = later(acked, ack);
    settled = later(settled, ack);
    settle(ack);
  };

  const settle = (number) => {
    release(number).map(([, , resolve]) => resolve());
  };

  /** Takes out of `kept` what is not sent again. */
  const release = (number) => {
    const end = kept.findIndex(([other]) => other > number);
    const released = kept.splice(0, end < 0 ? Infinity : end);
    released.map(([, frame]) => (bytes -= frame.length));
    next = later(0, next - released.length);
    return released;
  };

  /** Nobody can know whether those up to this one have arrived: that is told, once, and they are not sent again. */
  const doubt = (last) => {
    if (last <= settled) return;
    const first = settled + 1n;
    const packets = release((settled = last)).map(([, frame, , reject]) => {
      reject(failure("uncertain", OUTAGE, true));
      return part(frame, 4);
    });
    tell("uncertain", { first, last, packets });
  };

  // ---- what has come

  const put = (number, type, detail) => {
    const size = detail.data ? 4 + detail.data.length : 0;
    inbox.push([number, type, detail, size]);
    waiting += size;
  };

  /** Packets wait until somebody listens; once somebody iterates, until they are asked for. */
  const deliver = () => {
    let item;
    while ((item = inbox[0]) && (iterating ? pulls[0] : listening || item[1] != "packet")) {
      const [number, type, detail, size] = inbox.shift();
      safe = later(safe, number);
      waiting -= size;
      handed += size;
      if (size && iterating) pulls.shift()(detail);
      tell(type, detail);
    }
    if (phase == OVER && !item) pulls.splice(0).map((pull) => pull());
    if (away && phase < OVER) remember(stored); // behind the end the state may be a successor's
    if (phase == LIVE && v3()) owe();
  };

  /** An ack that is due goes alone; another one waits a little for a record that takes it along (SPEC 15, 16). */
  const owe = () => {
    const fresh = safe - toldSafe, more = room() - granted;
    // Half of the window, or a quarter of what the server retains for us.
    if (2 * more >= windowBytes || 4n * fresh >= peerPackets || 4 * (handed - toldBytes) >= peerBytes) emit(ACK);
    else if (fresh) ackTimer ||= setTimeout(emit, ACK_MS, ACK);
  };

  /** The credit that there could be: beyond what has come, and does not wait in whole. */
  const room = () => later(granted, received - waiting + windowBytes);

  // ---- events, where there is no WebSocket: no acks, and only the stream down comes back by itself

  const pageOf = (path) => new URL(path, target.href.replace("ws", "http"));

  const openEvents = () =>
    listenTo(new EventSource(pageOf("/events")), {
      session({ data }) {
        const told = parse(data);
        if (told.lost && !renew) return leave(UNKNOWN, told.lost);
        token = told.token;
        live(id == (id = BigInt(told.client_id))); // the one from before
      },
      message: receive,
      binary: ({ data }) => receive({ data: fromBase64(data) }),
      gap: ({ data }) => arrive("gap", parse(data, (name, value) => (name ? BigInt(value) : value))),
      end({ data }) {
        const { code, reason } = parse(data);
        if (code == TAKEN_OVER || isFinal(code)) leave(code, reason); // it would come back by itself
      },
      error() {
        // Where it had a session it comes back by itself, and says which was the last event that it has.
        if (socket.readyState == 2 || !id) return outage();
        if (phase == LIVE) tellClose(OUTAGE, LOSS, true);
        phase = CONNECTING;
      },
    });

  const arrive = (type, detail) => {
    put(0n, type, detail);
    deliver();
  };

  /** One after the other: requests overtake each other. */
  const post = async () => {
    posting = true;
    while (phase == LIVE && events && kept[0]) {
      const [[number, frame]] = kept;
      sent = number;
      const status = await fetch(pageOf("/send"), {
        method: "POST",
        headers: { Authorization: "Bearer " + token },
        body: part(frame, 4),
      }).then((answer) => answer.status, () => Infinity); // no answer
      if (phase == OVER) return; // by then its fate was told
      if (status == 401 || status == 410) renew ? outage() : leave(UNKNOWN, LOSS);
      else if (status == 429 || status == 503) await new Promise((resolve) => setTimeout(resolve, BUSY_MS));
      else if (status < 300) settle((settled = number));
      else doubt(number);
    }
    posting = false;
    pump();
  };

  // ---- for the application

  const leave = (code, reason) => {
    farewell(code, reason);
    if (phase < OVER) hangUp(code, reason, sent, true);
  };

  // A client allows suite 0 by what it knows of its own leg (SPEC 12).
  must(
    insecure || /^wss:|^ws:..(localhost|127\.[\d.]+|\[::1])(:|$)/.test(target.origin),
    "wss: needed, or insecure",
    0,
  );
  must(!v3() || host.crypto?.subtle, "needs crypto.subtle (https:)", 0);
  must(WebSocket || (v3() && EventSource), "pass { WebSocket } (package ws)", 0); // Node before 22

  const ready = (async () => {
    await null; // what is told finds the listeners that are added behind connect()
    away = isHidden(); // not before: an iteration that has begun must not replace what is restored here
    try {
      restore();
      remember();
    } catch {
      forget();
    }
    queueMicrotask(dial);
  })();
  for (const type of ["online", "offline", "pagehide", "visibilitychange"])
    host.addEventListener?.(
      type,
      () => {
        away = type == "pagehide" || isHidden();
        remember();
        connection.wake();
      },
      page,
    );

  return connection;
};
