// Asks the reader of xlb_json.ts what the test wants to know.

import { Text } from "../sdk/assemblyscript/xlb";
import { json, flat, get, first, next, isWord, bytes, boolean, decimal } from "../sdk/assemblyscript/xlb_json";

export { alloc, xlb_abi_version } from "../sdk/assemblyscript/xlb";

const place: usize = memory.data(4096);

export function out(): usize {
  return place;
}

function keyOf(n: u32): string {
  switch (n) {
    case 0:
      return "k";
    case 1:
      return "";
    case 2:
      return "ä€😀";
    default:
      return 'a"\\\n';
  }
}

export function ask(at: usize, length: u32, key: u32, question: u32, n: u32): i64 {
  const object = json(at, length);
  const value = get(object, keyOf(key));
  let item: Text = 0;
  switch (question) {
    case 0:
      return flat(object);
    case 1:
      return value != 0;
    case 2:
      return decimal(value, n);
    case 3:
      return boolean(value);
    case 4:
      return bytes(value, place, 4096);
    case 5:
      return isWord(value, "drop");
    case 6: {
      let count: i64 = 0;
      for (item = first(value); item; item = next(value, item)) count++;
      return count;
    }
    default: {
      item = first(value);
      for (; item && n > 0; n--) item = next(value, item);
      return item ? bytes(item, place, 4096) : -2;
    }
  }
}
