/** A client of Voltlane: packets in order, once, over any number of connections. */

/** Where a session is kept while a page is hidden or gone: sessionStorage is one. */
export interface SessionStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

export interface Options {
  /**
   * `"v3"` (default): the subprotocol `voltlane.v3`; nothing is lost and nothing comes twice, over any number of
   * connections. `"open"`: a WebSocket message is a packet; a session ends with its connection, and nothing is
   * acknowledged.
   */
  protocol?: "v3" | "open";
  /** Allow ws:// to other hosts than this machine. */
  insecure?: boolean;
  /**
   * Begin a new session where the server does not know this one any more, or a copy of this client has gone on with it
   * (codes 3501 to 3504): after `close` and, where packets are in doubt, `uncertain`, there is an `open` that is not
   * `resumed`. Default: true; with false the connection is over then.
   */
  renew?: boolean;
  /** Where the session is kept, so that a reload resumes it. Default: nowhere. */
  storage?: SessionStorage;
  /** Under which key. Default: "voltlane". Two connections of a page need two. */
  key?: string;
  /** How much may be unacknowledged: bytes, with four more a packet. Default: 16 MiB. */
  retainedBytes?: number;
  /** How much the server may send ahead of what was taken, in bytes. Default: 256 KiB. */
  windowBytes?: number;
  /** After so many milliseconds of silence the server is asked whether it is there. Default: 25000. */
  heartbeat?: number;
  /** How many milliseconds connecting or `close` may take; half of it for a sign of life. Default: 10000. */
  timeout?: number;
  /** The longest pause between two attempts, in milliseconds; a pause is drawn from 0 on. Default: 10000. */
  longestPause?: number;
  /**
   * The constructor. Node before 22 has none: pass that of the package `ws`. Without any `connect` throws, unless events
   * can do instead.
   */
  WebSocket?: unknown;
  /** The constructor, for Node: that of the package `eventsource`. null: do not fall back to events. */
  EventSource?: unknown;
}

/** Connected. */
export interface OpenEvent extends Event {
  /** The client's id. null with `protocol: "open"`. */
  readonly id: bigint | null;
  /** Whether the session is the one from before. If not, the server knows nothing of what was before. */
  readonly resumed: boolean;
}

/** A packet of the server's. */
export interface PacketEvent extends Event {
  readonly data: Uint8Array;
}

/** Packets of the server's with these numbers will not come. */
export interface GapEvent extends Event {
  readonly first: bigint;
  readonly last: bigint;
  /**
   * Missing where events are used. 1: it was more than the server keeps. 2: the server has lost its memory, and the numbers may stand for nothing.
   * 3: this client has lost its own.
   */
  readonly why?: number;
}

/** Nobody can know whether these packets of ours have arrived. They are not sent again, unless you do. */
export interface UncertainEvent extends Event {
  readonly first: bigint;
  readonly last: bigint;
  /** Those that are still there: not all, behind a reload, if the storage was too small for them. */
  readonly packets: Uint8Array[];
}

/** A connection, or an attempt to connect, has ended. */
export interface CloseEvent extends Event {
  /** As SPEC.txt, section 18, has them: 3000 to 3499 and 4000 to 4499 are come back from. */
  readonly code: number;
  /** For people. */
  readonly reason: string;
  /** Whether another attempt follows by itself. If not, it is over. */
  readonly reconnecting: boolean;
}

export interface Events {
  open: OpenEvent;
  packet: PacketEvent;
  gap: GapEvent;
  uncertain: UncertainEvent;
  close: CloseEvent;
}

/** What promises are rejected with. */
export interface VoltlaneError extends Error {
  /** A code of SPEC.txt, section 18; 0 for what was wrong with a call. */
  readonly code: number;
  /** Whether the packet may have arrived. */
  readonly uncertain: boolean;
}

/**
 * Iteration gives the packets' data. Packets wait until there is a listener for `packet`, or until somebody iterates;
 * from then on each waits until it is asked for, here, and then at the server.
 */
export interface Connection extends EventTarget, AsyncIterable<Uint8Array> {
  /** The client's id, once there was a session. */
  readonly id: bigint | null;
  /** Bytes that are not acknowledged, with four more a packet. */
  readonly bufferedAmount: number;
  /**
   * Whether the session is in the storage, with all that is not acknowledged: it can be while the page is hidden, and
   * behind `close(3005)`.
   */
  readonly stored: boolean;
  /**
   * Send a packet. Resolves when it is safe: written to the backend in whole. (With `open`: written to the socket. With
   * events: answered by the server.) Rejected with a VoltlaneError when that will not come to be known; who does not
   * look at the promise is told by `uncertain` and `close`. Rejected at once when it is too large, or too much waits.
   */
  send(data: string | ArrayBuffer | ArrayBufferView): Promise<void>;
  /** Resolves when all that was sent so far is safe; rejected when one of it cannot be known to be. */
  flush(): Promise<void>;
  /**
   * Leave for good when all is safe (3510, or a code from 4500 to 4999). Rejected when that does not come to be in
   * time: then the session stays, in the storage and at the server. With another code (3005, or 4000 to 4499) leave at
   * once, and keep the session: packets that an iteration was not given yet come again, to whoever resumes it.
   */
  close(code?: number, reason?: string): Promise<void>;
  /** Test the connection now, or connect now. The page's `online`, `offline` and `visibilitychange` do it too. */
  wake(): void;
  addEventListener<Type extends keyof Events>(
    type: Type,
    listener: ((event: Events[Type]) => unknown) | EventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Type extends keyof Events>(
    type: Type,
    listener: ((event: Events[Type]) => unknown) | EventListenerObject | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

/**
 * Connect to ws:// or wss:// (ws:// to this machine only, unless `insecure`), and stay connected until `close`. Throws
 * for what is wrong with the arguments. Where no WebSocket gets through, and there was no session yet, it
 * falls back to GET /events and POST /send of the same origin.
 */
export function connect(url: string | URL, options?: Options): Connection;
