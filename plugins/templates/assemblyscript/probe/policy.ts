// Healthy is who gives the wanted answer.

import { Text, textOf, textFrom, placeOf, lengthOf, read, write, setReason, setRole, answer } from "./xlb";
import { json, flat, get, bytes } from "./xlb_json";

export { alloc, xlb_abi_version } from "./xlb";

const sendRoom: usize = memory.data(64);
const expectRoom: usize = memory.data(64);
const answerRoom: usize = memory.data(64);
let send: Text = 0;
let expect: Text = 0;

function unhealthy(why: string): u32 {
  setReason(textFrom(why));
  return 1;
}

/** The host ends a read that takes longer than the timeout. */
export function probe(timeoutMS: u32): u32 {
  if (lengthOf(send) && write(send) < 0) return unhealthy("cannot send");
  for (let have: u32 = 0; have < lengthOf(expect); ) {
    const n = read(answerRoom + have, lengthOf(expect) - have);
    if (n <= 0) return unhealthy("no whole answer");
    for (const end = have + n; have < end; have++) {
      if (load<u8>(answerRoom + have) != load<u8>(placeOf(expect) + have)) {
        return unhealthy("unexpected answer");
      }
    }
  }
  setRole(textFrom("server"));
  return 0;
}

/** Writes a text of the configuration, else another: its length, or -1. */
function text(config: Text, key: string, otherwise: string, to: usize): i32 {
  const value = get(config, key);
  if (value) return bytes(value, to, 64);
  const text = textFrom(otherwise);
  memory.copy(to, placeOf(text), lengthOf(text));
  return lengthOf(text);
}

const scratch: usize = memory.data(64);

/** What is wrong, or null. */
function parse(config: Text): string | null {
  if (!flat(config)) return "not an object of numbers, texts, booleans and lists of them";
  if (text(config, "send", "PING\r\n", scratch) < 0) return "send: a text of at most 64 bytes";
  if (text(config, "expect", "+PONG", scratch) < 1) return "expect: a text of 1 to 64 bytes";
  return null;
}

export function validate(at: usize, length: u32): u64 {
  return answer(parse(json(at, length)));
}

export function configure(at: usize, length: u32, wall: i64, monotonic: i64): u32 {
  const config = json(at, length);
  if (parse(config) !== null) return 1;
  send = textOf(sendRoom, text(config, "send", "PING\r\n", sendRoom));
  expect = textOf(expectRoom, text(config, "expect", "+PONG", expectRoom));
  return 0;
}
