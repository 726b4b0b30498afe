// SPDX-License-Identifier: Apache-2.0
//
// What a policy for xlb needs in AssemblyScript: ABI version 1. The policy
// exports its hooks and what the host needs of this file:
//
//   export { alloc, xlb_abi_version } from "./xlb";
//   export function flow(srcHi: u64, srcLo: u64, dstHi: u64, dstLo: u64, srcPort: u32,
//     dstPort: u32, protocol: u32, tcpFlags: u32, hash: u64, backends: u32): u64
//   export function weigh(at: usize, count: u32, strings: u32): u32
//   export function probe(timeoutMS: u32): u32          0 healthy, 1 not
//   export function validate(at: usize, length: u32): u64
//   export function configure(at: usize, length: u32, wall: i64, monotonic: i64): u32
//
// Nothing here allocates objects, so that the stub runtime, which never frees, is
// enough. Globals keep what the policy must remember: each worker of the daemon
// has a copy of its own.

export function xlb_abi_version(): u32 {
  return 1;
}

// ---- addresses: the first eight bytes read big-endian, and the last; an IPv4
// address is IPv4-mapped: ::ffff:a.b.c.d ----

export const TCP: u32 = 6;
export const UDP: u32 = 17;

// @ts-ignore: decorator
@inline
export function isIPv4(hi: u64, lo: u64): bool {
  return hi == 0 && lo >> 32 == 0xffff;
}

/** The first half of the first bits of an address: of IPv4 0 to 32, of IPv6 0 to 128. */
export function prefixHi(hi: u64, lo: u64, ipv4: u32, ipv6: u32): u64 {
  return hi & ones(min<u32>(isIPv4(hi, lo) ? 96 + ipv4 : ipv6, 64));
}

/** The second half. */
export function prefixLo(hi: u64, lo: u64, ipv4: u32, ipv6: u32): u64 {
  const bits = isIPv4(hi, lo) ? 96 + ipv4 : ipv6;
  return lo & ones(bits > 64 ? bits - 64 : 0);
}

function ones(bits: u32): u64 {
  return bits ? u64.MAX_VALUE << (64 - bits) : 0;
}

/** A bijection of 64 bits in which each bit of x changes half of the result's (the
 * finalizer of MurmurHash3 with the constants of splitmix64). */
export function mix(x: u64): u64 {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/** A hash of an address; another seed makes another, independent one. */
export function hashOf(hi: u64, lo: u64, seed: u64): u64 {
  return mix(mix(hi ^ seed) + 0x9e3779b97f4a7c15 + lo);
}

// ---- verdicts: each carries a reason, 0 to 65535, which xlb counts; 0 is none ----

// @ts-ignore: decorator
@inline
function verdict(action: u64, reason: u32, operand: u32): u64 {
  return action | (<u64>(reason & 0xffff) << 16) | (<u64>operand << 32);
}

/** Let the next policy decide, and after the last one the service's table. */
export function goOn(reason: u32 = 0): u64 {
  return verdict(0, reason, 0);
}

/** Drop the flow silently. */
export function drop(reason: u32 = 0): u64 {
  return verdict(1, reason, 0);
}

/** Tell the client: a TCP RST, or ICMP "administratively prohibited". */
export function reject(reason: u32 = 0): u64 {
  return verdict(2, reason, 0);
}

/** A backend: 0 to backends - 1, in the order of address and port. */
export function backend(index: u32, reason: u32 = 0): u64 {
  return verdict(3, reason, index);
}

/** One of the manifest's subsets, by its place in the list. */
export function subset(index: u32, reason: u32 = 0): u64 {
  return verdict(4, reason, index);
}

/** The service's table decides, asked with this hash in place of the flow's: flows
 * of the same hash go to the same backend. */
export function byHash(hash: u32, reason: u32 = 0): u64 {
  return verdict(5, reason, hash);
}

// ---- the weigh hook ----

export const UNKNOWN: u8 = 0;
export const UP: u8 = 1;
export const DOWN: u8 = 2;
export const DRAINING: u8 = 3;

/** A backend, and the answer about it. As given, the answer leaves all as it is. */
@unmanaged
export class Backend {
  private rawHi: u64;
  private rawLo: u64;
  port: u16;
  state: u8;
  private reserved: u8;
  /** As configured, or as the operator set it: 0 to 65535. */
  weight: u32;
  /** 0 to 255. */
  tier: u32;
  private zoneAt: u32;
  private zoneLength: u32;
  private tagsAt: u32;
  private tagsLength: u32;
  private reserved2: u32;
  /** Of probes, smoothed, in nanoseconds; 0: not known. */
  latency: u64;
  /** Live now. */
  flows: u64;
  flowsTotal: u64;
  /** Failed probes. */
  errorsTotal: u64;
  /** 0 to 65535, or -1: leave. */
  newWeight: i32;
  /** 0 to 255, or -1: leave. */
  newTier: i32;
  /** 1: no new flows. */
  eject: u32;
  /** Shown to the operator, 0 to 65535. */
  reason: u32;

  get addressHi(): u64 {
    return bswap(this.rawHi);
  }

  get addressLo(): u64 {
    return bswap(this.rawLo);
  }

  /** Whether the backend takes new flows. */
  get usable(): bool {
    return this.weight > 0 && (this.state == UNKNOWN || this.state == UP);
  }

  get zone(): Text {
    return textOf(this.zoneAt, this.zoneLength);
  }

  /** With commas between. */
  get tags(): Text {
    return textOf(this.tagsAt, this.tagsLength);
  }
}

/** The record of a backend, of those that weigh is given. */
export function backendAt(at: usize, index: u32): Backend {
  return changetype<Backend>(at + <usize>index * 96);
}

// ---- texts: a place in memory and a length, in one number; 0 is none ----

export type Text = u64;

export function textOf(at: usize, length: u32): Text {
  return (<u64>at << 32) | length;
}

// @ts-ignore: decorator
@inline
export function placeOf(text: Text): usize {
  return <usize>(text >> 32);
}

// @ts-ignore: decorator
@inline
export function lengthOf(text: Text): u32 {
  return <u32>text;
}

/** Whether two texts have the same bytes. */
export function same(a: Text, b: Text): bool {
  const length = lengthOf(a);
  if (length != lengthOf(b)) return false;
  for (let i: u32 = 0; i < length; i++) {
    if (load<u8>(placeOf(a) + i) != load<u8>(placeOf(b) + i)) return false;
  }
  return true;
}

/** Whether a backend has a tag. */
export function hasTag(b: Backend, tag: Text): bool {
  const tags = b.tags;
  const end = placeOf(tags) + lengthOf(tags);
  for (let from = placeOf(tags), at = from; at <= end; at++) {
    if (at < end && load<u8>(at) != 0x2c) continue;
    if (at > from && same(textOf(from, <u32>(at - from)), tag)) return true;
    from = at + 1;
  }
  return false;
}

const ascii: usize = memory.data(1024);

/** A string of ASCII characters as a text of at most 1024 bytes, until the next call. */
export function textFrom(word: string): Text {
  const length = min(word.length, 1024);
  for (let i = 0; i < length; i++) {
    store<u8>(ascii + i, <u8>word.charCodeAt(i));
  }
  return textOf(ascii, length);
}

/** What validate returns: a message of ASCII characters, or null if all is fine. */
export function answer(message: string | null): u64 {
  return message === null ? 0 : textFrom(message);
}

// ---- what the host gives ----

export namespace host {
  // @ts-ignore: decorator
  @external("xlb", "log")
  export declare function log(level: u32, at: usize, length: u32): void;
  // @ts-ignore: decorator
  @external("xlb", "now")
  export declare function now(): u64;
  // @ts-ignore: decorator
  @external("xlb", "random")
  export declare function random(): u64;
  // @ts-ignore: decorator
  @external("xlb", "count")
  export declare function count(counter: u32, delta: i64): void;
  // @ts-ignore: decorator
  @external("xlb", "table_lookup")
  export declare function lookup(table: u32, hi: u64, lo: u64): i64;
  // @ts-ignore: decorator
  @external("xlb", "conn_write")
  export declare function write(at: usize, length: u32): i32;
  // @ts-ignore: decorator
  @external("xlb", "conn_read")
  export declare function read(at: usize, length: u32): i32;
  // @ts-ignore: decorator
  @external("xlb", "set_reason")
  export declare function setReason(at: usize, length: u32): void;
  // @ts-ignore: decorator
  @external("xlb", "set_role")
  export declare function setRole(at: usize, length: u32): void;
}

export const DEBUG: u32 = 0;
export const INFO: u32 = 1;
export const WARN: u32 = 2;
export const ERROR: u32 = 3;

/** Writes to xlb's log: at most 1024 ASCII characters, and some ten lines a second. */
export function log(level: u32, message: string): void {
  const text = textFrom(message);
  host.log(level, placeOf(text), lengthOf(text));
}

/** Monotonic nanoseconds. */
export function now(): u64 {
  return host.now();
}

export function random(): u64 {
  return host.random();
}

/** Adds to a counter of the manifest, by its place in the list. */
export function count(counter: u32, delta: i64): void {
  host.count(counter, delta);
}

/** Looks an address up in a table of the manifest, by its place in the list: the
 * entry's value, 0 or more, or -1 if there is none. */
export function lookup(table: u32, hi: u64, lo: u64): i64 {
  return host.lookup(table, hi, lo);
}

/** Looks an integer up. */
export function lookupInteger(table: u32, key: u64): i64 {
  return host.lookup(table, 0, key);
}

/** A word of up to eight ASCII characters as it stands in a table. */
export function word(text: string): i64 {
  let packed: i64 = 0;
  for (let i = 0; i < text.length; i++) {
    packed = (packed << 8) | (text.charCodeAt(i) & 0xff);
  }
  return packed;
}

/** Writes to a probe's connection: bytes written, or -1. */
export function write(text: Text): i32 {
  return host.write(placeOf(text), lengthOf(text));
}

/** Reads from it: bytes read, 0 at the end, -1 on an error or when the probe's time
 * is over. */
export function read(at: usize, room: u32): i32 {
  return host.read(at, room);
}

/** Why a probe found what it found; at most 64 bytes. */
export function setReason(text: Text): void {
  host.setReason(placeOf(text), lengthOf(text));
}

/** What the backend is, as "primary"; at most 64 bytes. */
export function setRole(text: Text): void {
  host.setRole(placeOf(text), lengthOf(text));
}

let clockOffset: i64 = 0;

/** Keeps the time that configure is given. */
export function setClock(wall: i64, monotonic: i64): void {
  clockOffset = wall - monotonic;
}

/** Nanoseconds since 1970, right once the policy is configured. */
export function wall(): i64 {
  return clockOffset + <i64>host.now();
}

// ---- the host's buffer; its next use overwrites it ----

let buffer: usize = 0;
let room: u32 = 0;

export function alloc(size: u32): usize {
  if (size > room || !buffer) {
    // Twice as much each time: the stub runtime keeps the old ones.
    room = max<u32>(size, max<u32>(room * 2, 1024));
    buffer = heap.alloc(room);
  }
  return buffer;
}
