// SPDX-License-Identifier: Apache-2.0
//! What the host gives.

use super::{Address, Global};

#[link(wasm_import_module = "xlb")]
extern "C" {
    #[link_name = "log"]
    fn host_log(level: u32, text: *const u8, length: u32);
    #[link_name = "now"]
    fn host_now() -> u64;
    #[link_name = "random"]
    fn host_random() -> u64;
    #[link_name = "count"]
    fn host_count(counter: u32, delta: i64);
    #[link_name = "table_lookup"]
    fn host_table_lookup(table: u32, hi: u64, lo: u64) -> i64;
    #[link_name = "conn_write"]
    fn host_conn_write(from: *const u8, length: u32) -> i32;
    #[link_name = "conn_read"]
    fn host_conn_read(to: *mut u8, length: u32) -> i32;
    #[link_name = "set_reason"]
    fn host_set_reason(text: *const u8, length: u32);
    #[link_name = "set_role"]
    fn host_set_role(text: *const u8, length: u32);
}

#[derive(Clone, Copy)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// Writes to xlb's log: at most 1024 bytes, and some ten lines a second.
pub fn log(level: Level, text: &str) {
    unsafe { host_log(level as u32, text.as_ptr(), text.len() as u32) }
}

/// Monotonic nanoseconds.
pub fn now() -> u64 {
    unsafe { host_now() }
}

static CLOCK_OFFSET: Global<i64> = Global::new(0);

#[doc(hidden)]
pub fn set_clock(wall: i64, monotonic: i64) {
    *CLOCK_OFFSET.get() = wall.wrapping_sub(monotonic);
}

/// Nanoseconds since 1970, right once the policy is configured.
pub fn wall() -> i64 {
    CLOCK_OFFSET.get().wrapping_add(now() as i64)
}

pub fn random() -> u64 {
    unsafe { host_random() }
}

/// Adds to a counter of the manifest, by its place in the list.
pub fn count(counter: u32, delta: i64) {
    unsafe { host_count(counter, delta) }
}

/// Looks an address up in a table of the manifest, by its place in the list.
pub fn lookup(table: u32, key: Address) -> Option<u64> {
    found(unsafe { host_table_lookup(table, key.hi, key.lo) })
}

/// Looks an integer up in a table of the manifest, by its place in the list.
pub fn lookup_integer(table: u32, key: u64) -> Option<u64> {
    found(unsafe { host_table_lookup(table, 0, key) })
}

fn found(value: i64) -> Option<u64> {
    if value < 0 {
        None
    } else {
        Some(value as u64)
    }
}

/// A word of one to eight bytes as it stands in a table.
pub fn word(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 8 {
        return None;
    }
    Some(text.iter().fold(0, |packed, &byte| packed << 8 | u64::from(byte)))
}

/// Writes to a probe's connection: bytes written, or nothing on an error.
pub fn write(from: &[u8]) -> Option<usize> {
    let n = unsafe { host_conn_write(from.as_ptr(), from.len() as u32) };
    usize::try_from(n).ok()
}

/// Reads from a probe's connection: bytes read, 0 at the end, or nothing on an
/// error and when the probe's time is over.
pub fn read(to: &mut [u8]) -> Option<usize> {
    let n = unsafe { host_conn_read(to.as_mut_ptr(), to.len() as u32) };
    usize::try_from(n).ok()
}

/// Why a probe found what it found; at most 64 bytes.
pub fn set_reason(text: &[u8]) {
    unsafe { host_set_reason(text.as_ptr(), text.len() as u32) }
}

/// What the backend is, as "primary"; at most 64 bytes.
pub fn set_role(text: &[u8]) {
    unsafe { host_set_role(text.as_ptr(), text.len() as u32) }
}
