// Gives backends with a tag a part of their weight.

import { Text, backendAt, hasTag, textOf, answer } from "./xlb";
import { json, flat, get, bytes, integer } from "./xlb_json";

export { alloc, xlb_abi_version } from "./xlb";

// As in policy.yaml.
const REASON_TAG: u32 = 1;

const room: usize = memory.data(64);
let tag: Text = 0;
let percent: u32 = 0;

export function weigh(at: usize, count: u32, strings: u32): u32 {
  for (let i: u32 = 0; i < count; i++) {
    const b = backendAt(at, i);
    if (hasTag(b, tag)) {
      b.newWeight = (b.weight * percent) / 100;
      b.reason = REASON_TAG;
    }
  }
  return 0;
}

const scratch: usize = memory.data(64);

/** What is wrong, or null. */
function parse(config: Text): string | null {
  if (!flat(config)) return "not an object of numbers, texts, booleans and lists of them";
  if (bytes(get(config, "tag"), scratch, 64) < 1) return "tag: a text of 1 to 64 bytes";
  const percent = get(config, "percent");
  if (percent && (integer(percent) < 0 || integer(percent) > 100)) return "percent: 0 to 100";
  return null;
}

export function validate(at: usize, length: u32): u64 {
  return answer(parse(json(at, length)));
}

export function configure(at: usize, length: u32, wall: i64, monotonic: i64): u32 {
  const config = json(at, length);
  if (parse(config) !== null) return 1;
  tag = textOf(room, bytes(get(config, "tag"), room, 64));
  const value = get(config, "percent");
  percent = value ? <u32>integer(value) : 50;
  return 0;
}
