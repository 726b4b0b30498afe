//! Asks the reader of xlb/json.rs what the test wants to know.
#![no_std]

#[path = "../sdk/rust/xlb/mod.rs"]
mod xlb;

use xlb::{Global, Object};

const KEYS: [&str; 4] = ["k", "", "ä€😀", "a\"\\\n"];
static OUT: Global<[u8; 4096]> = Global::new([0; 4096]);

#[no_mangle]
pub extern "C" fn out() -> *const u8 {
    OUT.get().as_ptr()
}

/// # Safety
/// The host gives a text in memory of alloc.
#[no_mangle]
pub unsafe extern "C" fn ask(text: *const u8, length: u32, key: u32, question: u32, n: u32) -> i64 {
    let text: &[u8] = match length {
        0 => b"{}",
        _ => core::slice::from_raw_parts(text, length as usize),
    };
    let object = match Object::new(text) {
        Some(object) => object,
        None => return [0, 0, i64::MIN, -1, -1, 0, 0, -2][question as usize],
    };
    let value = object.get(KEYS[key as usize]);
    let mut out = OUT.get();
    match question {
        0 => 1,
        1 => value.is_some().into(),
        2 => value.and_then(|v| v.decimal(n)).unwrap_or(i64::MIN),
        3 => value.and_then(|v| v.boolean()).map_or(-1, i64::from),
        4 => value.and_then(|v| v.string(&mut *out)).map_or(-1, |s| s.len() as i64),
        5 => value.map_or(false, |v| v.is("drop")).into(),
        6 => value.and_then(|v| v.items()).map_or(0, |items| items.count() as i64),
        _ => match value.and_then(|v| v.items()).and_then(|mut items| items.nth(n as usize)) {
            Some(item) => item.string(&mut *out).map_or(-1, |s| s.len() as i64),
            None => -2,
        },
    }
}
