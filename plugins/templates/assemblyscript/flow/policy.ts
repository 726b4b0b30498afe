// Refuses the clients of the table `blocked`.

import { Text, lookup, count, goOn, drop, reject, answer } from "./xlb";
import { json, flat, get, isWord } from "./xlb_json";

export { alloc, xlb_abi_version } from "./xlb";

// As in policy.yaml.
const TABLE_BLOCKED: u32 = 0;
const COUNTER_REFUSED: u32 = 0;
const REASON_BLOCKED: u32 = 1;

let rejects: bool = false;

export function flow(
  srcHi: u64, srcLo: u64, dstHi: u64, dstLo: u64, srcPort: u32, dstPort: u32,
  protocol: u32, tcpFlags: u32, hash: u64, backends: u32,
): u64 {
  if (lookup(TABLE_BLOCKED, srcHi, srcLo) < 0) return goOn();
  count(COUNTER_REFUSED, 1);
  return rejects ? reject(REASON_BLOCKED) : drop(REASON_BLOCKED);
}

/** What is wrong, or null. */
function parse(config: Text): string | null {
  if (!flat(config)) return "not an object of numbers, texts, booleans and lists of them";
  const refuse = get(config, "refuse");
  if (refuse && !isWord(refuse, "drop") && !isWord(refuse, "reject")) return "refuse: drop or reject";
  return null;
}

export function validate(at: usize, length: u32): u64 {
  return answer(parse(json(at, length)));
}

export function configure(at: usize, length: u32, wall: i64, monotonic: i64): u32 {
  const config = json(at, length);
  if (parse(config) !== null) return 1;
  rejects = isWord(get(config, "refuse"), "reject");
  return 0;
}
