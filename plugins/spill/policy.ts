// Keeps traffic in the own zone, and spills some to others while that is loaded.
//
// The load is live flows per unit of weight of the own zone's usable backends. One
// eighth above the limit puts the other zones into the same tier with an eighth of
// their weight, and so on up to all of it at twice the limit. A step is taken back
// only when the load has fallen a tenth of the limit below where it was taken, so
// that a load at an edge does not change the table again and again.

import { Text, Backend, backendAt, textOf, placeOf, lengthOf, same, mix, answer } from "../sdk/assemblyscript/xlb";
import { json, flat, get, first, next, isText, bytes, decimal, NONE } from "../sdk/assemblyscript/xlb_json";

export { alloc, xlb_abi_version } from "../sdk/assemblyscript/xlb";

const STEPS: u64 = 8;
const REASON_SPILL: u32 = 1;
const REASON_STANDBY: u32 = 2;

// The configuration in force: its text is kept, since the host's buffer is not.
const ROOM: u32 = 4096;
const kept: usize = memory.data(4096);
const zoneRoom: usize = memory.data(256);
let zone: Text = 0;
let others: Text = 0; // 0: all
let limit: u64 = 0; // flows per weight, in thousandths

// The step of each service, by a hash of its backends. Two services that share a
// cell forget each other's step, and begin with what the load says.
const CELLS: i32 = 64;
const keys = new StaticArray<u64>(CELLS);
const steps = new StaticArray<u64>(CELLS);

export function weigh(at: usize, count: u32, strings: u32): u32 {
  if (!limit) return 0;
  const step = stepOf(at, count);
  const scale = scaleOf(at, count);
  for (let i: u32 = 0; i < count; i++) {
    const b = backendAt(at, i);
    // Own and standby alternate, so that tiers of the configuration stay in order.
    const tier = min<u32>(2 * b.tier, 254);
    if (same(b.zone, zone)) {
      b.newTier = tier;
      if (step) b.newWeight = b.weight * scale;
    } else if (step && takes(b)) {
      b.newTier = tier;
      b.newWeight = part(b.weight * scale, step);
      b.reason = REASON_SPILL;
    } else {
      b.newTier = tier + 1;
      b.reason = REASON_STANDBY;
    }
  }
  return 0;
}

/** A part of a weight, in eighths; of a weight above 0 never 0. */
function part(weight: u32, step: u64): i32 {
  return weight ? max<i32>(1, <i32>((weight * step) / STEPS)) : 0;
}

/** What all weights are multiplied with, so that an eighth of the least is whole. */
function scaleOf(at: usize, count: u32): u32 {
  let most: u32 = 0;
  for (let i: u32 = 0; i < count; i++) most = max(most, backendAt(at, i).weight);
  return most <= 65535 / <u32>STEPS ? <u32>STEPS : 1;
}

/** Whether a backend's zone may take what spills. */
function takes(b: Backend): bool {
  if (!others) return true;
  for (let item = first(others); item; item = next(others, item)) {
    if (isText(item, b.zone)) return true;
  }
  return false;
}

function stepOf(at: usize, count: u32): u64 {
  let key: u64 = 0;
  let flows: u64 = 0;
  let weight: u64 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const b = backendAt(at, i);
    key = mix(key ^ b.addressHi) + b.addressLo + b.port;
    if (same(b.zone, zone) && b.usable) {
      flows += b.flows;
      weight += b.weight;
    }
  }
  key = mix(key);
  const cell = <i32>(key % CELLS);
  const before = keys[cell] == key ? steps[cell] : 0;
  keys[cell] = key;
  steps[cell] = weight ? stepFor((flows * 1000) / weight, before) : 0;
  return steps[cell];
}

/** The step for a load, after another. */
function stepFor(load: u64, before: u64): u64 {
  let step: u64 = 0;
  while (step < STEPS && load > limit + (limit * step) / STEPS) step++;
  while (before > step && load + limit / 10 <= limit + (limit * (before - 1)) / STEPS) before--;
  return max(step, before);
}

// What parse found.
let newZone: Text = 0;
let newOthers: Text = 0;
let newLimit: i64 = 0;

function parse(config: Text): string | null {
  if (!flat(config)) return "not an object of numbers, texts, booleans and lists of them";
  if (lengthOf(config) > ROOM) return "longer than 4096 bytes";
  newZone = get(config, "zone");
  if (bytes(newZone, scratch, 256) < 1) return "zone: the name of the own zone, at most 256 bytes";
  newLimit = decimal(get(config, "limit"), 3);
  if (newLimit < 1 || newLimit > 1_000_000_000_000) {
    return "limit: flows per unit of weight, 0.001 to 1000000000";
  }
  newOthers = get(config, "others");
  if (newOthers && !zones(newOthers)) return "others: a list of zones";
  return null;
}

const scratch: usize = memory.data(256);

function zones(list: Text): bool {
  if (load<u8>(placeOf(list)) != 0x5b) return false;
  for (let item = first(list); item; item = next(list, item)) {
    if (bytes(item, scratch, 256) < 0) return false;
  }
  return true;
}

export function validate(at: usize, length: u32): u64 {
  return answer(parse(json(at, length)));
}

export function configure(at: usize, length: u32, wall: i64, monotonic: i64): u32 {
  if (parse(json(at, length)) !== null) return 1;
  memory.copy(kept, at, length);
  parse(json(kept, length));
  zone = textOf(zoneRoom, bytes(newZone, zoneRoom, 256));
  others = newOthers;
  limit = <u64>newLimit;
  return 0;
}
