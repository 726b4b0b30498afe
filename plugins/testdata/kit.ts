// All of the SDK, for the test that compares it with the others.

import {
  Text, prefixHi, prefixLo, hashOf, goOn, drop, reject, backend, subset, byHash, backendAt, hasTag, textOf, textFrom, placeOf,
  lengthOf, same, log, count, random, lookup, lookupInteger, write, read, setReason, setRole, word, wall, setClock, answer, WARN,
} from "../sdk/assemblyscript/xlb";
import { json, flat, get, integer, NONE } from "../sdk/assemblyscript/xlb_json";

export { alloc, xlb_abi_version } from "../sdk/assemblyscript/xlb";

export function prefix_hi(hi: u64, lo: u64, ipv4: u32, ipv6: u32): u64 {
  return prefixHi(hi, lo, ipv4, ipv6);
}

export function prefix_lo(hi: u64, lo: u64, ipv4: u32, ipv6: u32): u64 {
  return prefixLo(hi, lo, ipv4, ipv6);
}

export function hash(hi: u64, lo: u64, seed: u64): u64 {
  return hashOf(hi, lo, seed);
}

/** The flow's ports are the verdict's kind and reason, its hash the operand. */
export function flow(
  srcHi: u64, srcLo: u64, dstHi: u64, dstLo: u64, srcPort: u32, dstPort: u32,
  protocol: u32, tcpFlags: u32, hash: u64, backends: u32,
): u64 {
  switch (srcPort) {
    case 0:
      return goOn(dstPort);
    case 1:
      return drop(dstPort);
    case 2:
      return reject(dstPort);
    case 3:
      return backend(<u32>hash, dstPort);
    case 4:
      return subset(<u32>hash, dstPort);
    case 5:
      return byHash(<u32>hash, dstPort);
    default: // every parameter counts
      return byHash(<u32>(srcHi + 2 * srcLo + 3 * dstHi + 5 * dstLo + 7 * protocol + 11 * tcpFlags + 13 * hash + 17 * backends));
  }
}

const roomB: usize = memory.data<u8>([0x62]);
const roomZ: usize = memory.data<u8>([0x7a]);

export function weigh(at: usize, count: u32, strings: u32): u32 {
  for (let i: u32 = 0; i < count; i++) {
    const b = backendAt(at, i);
    if (b.errorsTotal == 99) return 7;
    b.newWeight = b.usable ? b.weight + b.port : 0;
    b.newTier = b.tier + (hasTag(b, textOf(roomB, 1)) ? 1 : 0);
    b.eject = same(b.zone, textOf(roomZ, 1)) ? 1 : 0;
    b.reason = <u32>((b.addressLo & 0xff) + b.latency + b.flows + b.flowsTotal + b.errorsTotal);
  }
  return 0;
}

const got: usize = memory.data(16);

export function probe(timeoutMS: u32): u32 {
  log(WARN, "careful");
  count(3, -5);
  if (write(textFrom("hello")) != 5) return 1;
  const n = read(got, 16);
  setReason(textOf(got, n));
  setRole(textFrom("primary"));
  const ok = timeoutMS == 1234 && random() == 4 && lookup(1, 10, 20) == 30 && lookupInteger(2, 77) == -1 && word("DE") == 0x4445;
  return ok ? 0 : 1;
}

let number: i64 = 0;

function parse(config: Text): string | null {
  if (!flat(config)) return "not an object";
  return integer(get(config, "number")) == NONE ? "number: it is missing" : null;
}

export function validate(at: usize, length: u32): u64 {
  return answer(parse(json(at, length)));
}

export function configure(at: usize, length: u32, wall: i64, monotonic: i64): u32 {
  const config = json(at, length);
  if (parse(config) !== null) return 1;
  setClock(wall, monotonic);
  number = integer(get(config, "number"));
  return 0;
}

export function state(): i64 {
  return wall() + number;
}
