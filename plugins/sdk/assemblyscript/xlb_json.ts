// SPDX-License-Identifier: Apache-2.0
//
// A reader of flat JSON objects: values are numbers, strings, booleans, null and
// arrays of these. It reads in place, allocates nothing and keeps nothing. Values
// are texts; 0 is none.

import { Text, textOf, placeOf, lengthOf } from "./xlb";

/** What the functions for numbers return if there is none. */
export const NONE: i64 = i64.MIN_VALUE;

const most: i64 = 1_000_000_000_000_000_000;
const empty: usize = memory.data<u8>([0x7b, 0x7d]);

// The reader's place, and the end of the text.
let at: usize = 0;
let end: usize = 0;

function open(text: Text): void {
  at = placeOf(text);
  end = at + lengthOf(text);
}

/** The configuration that the host gives; no text at all is an empty object. */
export function json(place: usize, length: u32): Text {
  return length ? textOf(place, length) : textOf(empty, 2);
}

/** Whether it is an object that can be read here. */
export function flat(object: Text): bool {
  found = 0;
  return find(object, "");
}

/** The value of a key of a flat object, of several the last; 0 if it is not there,
 * or null. */
export function get(object: Text, key: string): Text {
  found = 0;
  if (!find(object, key) || (found && load<u8>(placeOf(found)) == 0x6e)) return 0;
  return found;
}

let found: Text = 0;

function find(object: Text, key: string): bool {
  open(object);
  if (!take(0x7b)) return false;
  if (!take(0x7d)) {
    do {
      const name = passed(STRING);
      if (!name || !take(0x3a)) return false;
      const value = passed(VALUE);
      if (!value) return false;
      const behind = at;
      if (isWord(name, key)) found = value;
      open(object);
      at = behind;
    } while (take(0x2c));
    if (!take(0x7d)) return false;
  }
  return at == end;
}

/** The first item of an array; 0 if it is empty or none. */
export function first(array: Text): Text {
  open(array);
  if (!array || !take(0x5b) || peek() == 0x5d) return 0;
  return passed(SCALAR);
}

/** The item behind another. */
export function next(array: Text, item: Text): Text {
  open(array);
  at = placeOf(item) + lengthOf(item);
  return take(0x2c) ? passed(SCALAR) : 0;
}

/** Whether a value is a string and this word. */
export function isWord(value: Text, word: string): bool {
  open(value);
  if (!value || !take(0x22, false)) return false;
  let i = 0;
  while (true) {
    const rune = character();
    if (rune < 0) return rune == CLOSED && i == word.length;
    if (i >= word.length || word.codePointAt(i) != rune) return false;
    i += rune > 0xffff ? 2 : 1;
  }
}

/** Whether a value is a string of these bytes. */
export function isText(value: Text, bytes: Text): bool {
  open(value);
  if (!value || !take(0x22, false)) return false;
  const stop = placeOf(bytes) + lengthOf(bytes);
  let p = placeOf(bytes);
  while (true) {
    const rune = character();
    if (rune < 0) return rune == CLOSED && p == stop;
    const length = encode(rune);
    for (let i = 0; i < length; i++) {
      if (p >= stop || load<u8>(p++) != load<u8>(utf8 + i)) return false;
    }
  }
}

/** Writes a string's bytes: how many, or -1 if it is none or there is no room. */
export function bytes(value: Text, to: usize, room: i32): i32 {
  open(value);
  if (!value || !take(0x22, false)) return -1;
  let used = 0;
  while (true) {
    const rune = character();
    if (rune < 0) return rune == CLOSED ? used : -1;
    const length = encode(rune);
    if (length > room - used) return -1;
    for (let i = 0; i < length; i++) {
      store<u8>(to + used++, load<u8>(utf8 + i));
    }
  }
}

/** 1, 0, or -1 if it is no boolean. */
export function boolean(value: Text): i32 {
  if (!value) return -1;
  const c = load<u8>(placeOf(value));
  return c == 0x74 ? 1 : c == 0x66 ? 0 : -1;
}

export function integer(value: Text): i64 {
  return decimal(value, 0);
}

/** A number times ten to the power of places, as 12.5 with two places is 1250. NONE
 * if it is none, has more places or an exponent, or is beyond ±10^18. */
export function decimal(value: Text, places: i32): i64 {
  open(value);
  if (!value || !passNumber() || at != end) return NONE;
  open(value);
  const negative = load<u8>(at) == 0x2d;
  if (negative) at++;
  let n: i64 = 0;
  let point = false;
  for (; at < end; at++) {
    const c = load<u8>(at);
    if (c == 0x2e) {
      point = true;
      continue;
    }
    if (!isDigit(c) || (point && places-- == 0)) return NONE;
    n = append(n, c - 0x30);
    if (n < 0) return NONE;
  }
  for (; places > 0; places--) {
    n = append(n, 0);
    if (n < 0) return NONE;
  }
  return negative ? -n : n;
}

/** A number with a digit behind it; -1 if that is beyond 10^18. */
function append(n: i64, digit: i32): i64 {
  if (n > most / 10) return -1;
  n = n * 10 + digit;
  return n > most ? -1 : n;
}

// ---- the reader ----

const CLOSED = -1;
const BROKEN = -2;
const utf8: usize = memory.data(4);

function peek(): i32 {
  return at < end ? <i32>load<u8>(at) : -1;
}

function isDigit(c: i32): bool {
  return c >= 0x30 && c <= 0x39;
}

function skipSpace(): void {
  for (let c = peek(); c == 0x20 || c == 0x09 || c == 0x0a || c == 0x0d; c = peek()) at++;
}

/** Passes a character, if it comes next, and spaces around it. */
function take(c: i32, spaces: bool = true): bool {
  if (spaces) skipSpace();
  if (peek() != c) return false;
  at++;
  if (spaces) skipSpace();
  return true;
}

const STRING = 0;
const SCALAR = 1;
const VALUE = 2;

/** The value of a kind that comes next, and passes it; 0 if there is none. */
function passed(kind: i32): Text {
  const from = at;
  const ok = kind == STRING ? passString() : kind == SCALAR ? passScalar() : passValue();
  return ok ? textOf(from, <u32>(at - from)) : 0;
}

function passValue(): bool {
  if (peek() != 0x5b) return passScalar();
  take(0x5b);
  if (take(0x5d)) return true;
  do {
    if (!passScalar()) return false;
  } while (take(0x2c));
  return take(0x5d);
}

function passScalar(): bool {
  switch (peek()) {
    case 0x22:
      return passString();
    case 0x74:
      return passWord("true");
    case 0x66:
      return passWord("false");
    case 0x6e:
      return passWord("null");
    default:
      return passNumber();
  }
}

function passWord(word: string): bool {
  for (let i = 0; i < word.length; i++) {
    if (!take(word.charCodeAt(i), false)) return false;
  }
  return true;
}

function passDigits(): bool {
  const from = at;
  while (isDigit(peek())) at++;
  return at > from;
}

function passNumber(): bool {
  take(0x2d, false);
  if (!take(0x30, false) && !passDigits()) return false;
  if (take(0x2e, false) && !passDigits()) return false;
  if (take(0x65, false) || take(0x45, false)) {
    if (!take(0x2b, false)) take(0x2d, false);
    return passDigits();
  }
  return true;
}

function passString(): bool {
  if (!take(0x22, false)) return false;
  let rune: i32;
  do {
    rune = character();
  } while (rune >= 0);
  return rune == CLOSED;
}

/** The next character within a string; a byte of a longer one in UTF-8 stands for
 * the whole. */
function character(): i32 {
  const c = peek();
  if (c < 0x20) return BROKEN;
  at++;
  if (c == 0x22) return CLOSED;
  if (c >= 0x80) return continued(c);
  if (c != 0x5c) return c;
  const e = peek();
  at++;
  switch (e) {
    case 0x62:
      return 8;
    case 0x66:
      return 12;
    case 0x6e:
      return 10;
    case 0x72:
      return 13;
    case 0x74:
      return 9;
    case 0x75:
      return unicode();
    case 0x22:
    case 0x2f:
    case 0x5c:
      return e;
    default:
      return BROKEN;
  }
}

/** The rest of a character that begins with a byte in UTF-8; of a wrong one U+FFFD. */
function continued(lead: i32): i32 {
  let more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
  let rune = lead & (0x3f >> more);
  for (; more > 0; more--) {
    const c = peek();
    if ((c & 0xc0) != 0x80) return 0xfffd;
    rune = (rune << 6) | (c & 0x3f);
    at++;
  }
  return rune;
}

/** What \u says: a character of one or two units; a lone surrogate is U+FFFD. */
function unicode(): i32 {
  const high = hex();
  if (high < 0xd800 || high > 0xdfff) return high;
  const behind = at;
  if (high < 0xdc00 && take(0x5c, false) && take(0x75, false)) {
    const low = hex();
    if (low >= 0xdc00 && low <= 0xdfff) {
      return 0x10000 + (((high - 0xd800) << 10) | (low - 0xdc00));
    }
  }
  at = behind;
  return 0xfffd;
}

function hex(): i32 {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    const c = peek();
    const low = c | 0x20;
    at++;
    if (isDigit(c)) value = (value << 4) | (c - 0x30);
    else if (low >= 0x61 && low <= 0x66) value = (value << 4) | (low - 0x61 + 10);
    else return BROKEN;
  }
  return value;
}

/** Writes a character as UTF-8: its length. */
function encode(rune: i32): i32 {
  if (rune < 0x80) {
    store<u8>(utf8, <u8>rune);
    return 1;
  }
  const length = rune < 0x800 ? 2 : rune < 0x10000 ? 3 : 4;
  for (let i = length - 1; i > 0; i--) {
    store<u8>(utf8 + i, <u8>(0x80 | (rune & 0x3f)));
    rune >>= 6;
  }
  store<u8>(utf8, <u8>((0xf00 >> length) | rune));
  return length;
}
