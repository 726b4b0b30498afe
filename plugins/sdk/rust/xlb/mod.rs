// SPDX-License-Identifier: Apache-2.0
//! What a policy for xlb needs in Rust, without the standard library: ABI version 1.
//!
//! A policy is one crate, compiled by `rustc` alone. It names its hooks:
//!
//! ```ignore
//! #![no_std]
//! mod xlb;
//!
//! xlb::flow!(decide); // fn decide(flow: &Flow) -> Verdict
//! xlb::weigh!(weigh); // fn weigh(backends: &mut [Backend]) -> Result<(), u32>
//! xlb::probe!(probe); // fn probe(timeout_ms: u32) -> bool: healthy or not
//! xlb::config!(parse, put); // parse(&Object) -> Result<T, &'static str>, put(T)
//! ```
//!
//! `parse` says what is wrong, as "percent: 0 to 100", and changes nothing; `put`
//! puts into force what parse accepted. Both may come again at any time, and come
//! every hour with the same configuration. What the policy must remember is in a
//! [`Global`]: each worker of the daemon has a copy of its own.
#![allow(dead_code, unused_imports, unused_macros)]

mod backend;
mod host;
mod json;

use core::cell::{Cell, RefCell, RefMut};

pub use backend::{Backend, State};
pub use host::*;
pub use json::{Object, Value};

pub const TCP: u32 = 6;
pub const UDP: u32 = 17;

/// The first eight bytes of an address read big-endian, and the last. An IPv4
/// address is IPv4-mapped: `::ffff:a.b.c.d`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Address {
    pub hi: u64,
    pub lo: u64,
}

impl Address {
    pub fn is_ipv4(self) -> bool {
        self.hi == 0 && self.lo >> 32 == 0xffff
    }

    /// The first bits, 0 to 128.
    pub fn masked(self, bits: u32) -> Address {
        let ones = |n: u32| !u64::MAX.checked_shr(n).unwrap_or(0);
        Address {
            hi: self.hi & ones(bits.min(64)),
            lo: self.lo & ones(bits.saturating_sub(64)),
        }
    }

    /// The first bits: of an IPv4 address 0 to 32, of an IPv6 address 0 to 128.
    /// Prefixes of the two families are never the same.
    pub fn prefix(self, ipv4: u32, ipv6: u32) -> Address {
        self.masked(if self.is_ipv4() { 96 + ipv4 } else { ipv6 })
    }

    /// A hash; another seed makes another, independent one.
    pub fn hash(self, seed: u64) -> u64 {
        mix(mix(self.hi ^ seed).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_add(self.lo))
    }
}

/// A bijection of 64 bits in which each bit of x changes half of the result's (the
/// finalizer of MurmurHash3 with the constants of splitmix64).
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// The first packet of a flow, from a client (source) to a VIP (destination).
pub struct Flow {
    pub source: Address,
    pub destination: Address,
    pub source_port: u32,
    pub destination_port: u32,
    /// [`TCP`] or [`UDP`].
    pub protocol: u32,
    /// Byte 13 of the TCP header; 0 with UDP.
    pub tcp_flags: u32,
    /// The same on every load balancer.
    pub hash: u64,
    /// How many backends take new flows.
    pub backends: u32,
}

/// What becomes of a flow. Each carries a reason, which xlb counts; 0 is none.
#[derive(Clone, Copy)]
pub enum Verdict {
    /// Let the next policy decide, and after the last one the service's table.
    Continue(u16),
    /// Drop the flow silently.
    Drop(u16),
    /// Tell the client: a TCP RST, or ICMP "administratively prohibited".
    Reject(u16),
    /// A backend: 0 to `flow.backends - 1`, in the order of address and port.
    Backend(u32, u16),
    /// One of the manifest's subsets, by its place in the list.
    Subset(u32, u16),
    /// The service's table decides, asked with this hash in place of the flow's:
    /// flows of the same hash go to the same backend.
    Hash(u32, u16),
}

impl Verdict {
    pub fn encode(self) -> u64 {
        let (action, operand, reason) = match self {
            Verdict::Continue(reason) => (0, 0, reason),
            Verdict::Drop(reason) => (1, 0, reason),
            Verdict::Reject(reason) => (2, 0, reason),
            Verdict::Backend(index, reason) => (3, index, reason),
            Verdict::Subset(index, reason) => (4, index, reason),
            Verdict::Hash(hash, reason) => (5, hash, reason),
        };
        action | u64::from(reason) << 16 | u64::from(operand) << 32
    }
}

/// A global variable. A policy has one thread, and the host never calls it while
/// it calls the host, so that one borrow at a time is easy to keep.
pub struct Global<T>(RefCell<T>);

unsafe impl<T> Sync for Global<T> {}

impl<T> Global<T> {
    pub const fn new(value: T) -> Self {
        Global(RefCell::new(value))
    }

    /// Traps if it is borrowed already.
    pub fn get(&self) -> RefMut<'_, T> {
        match self.0.try_borrow_mut() {
            Ok(value) => value,
            Err(_) => core::arch::wasm32::unreachable(),
        }
    }
}

macro_rules! flow {
    ($decide:path) => {
        #[export_name = "flow"]
        pub extern "C" fn xlb_export_flow(
            src_hi: u64,
            src_lo: u64,
            dst_hi: u64,
            dst_lo: u64,
            source_port: u32,
            destination_port: u32,
            protocol: u32,
            tcp_flags: u32,
            hash: u64,
            backends: u32,
        ) -> u64 {
            let source = $crate::xlb::Address { hi: src_hi, lo: src_lo };
            let destination = $crate::xlb::Address { hi: dst_hi, lo: dst_lo };
            let verdict: $crate::xlb::Verdict = $decide(&$crate::xlb::Flow {
                source,
                destination,
                source_port,
                destination_port,
                protocol,
                tcp_flags,
                hash,
                backends,
            });
            verdict.encode()
        }
    };
}
pub(crate) use flow;

/// An error, not 0, leaves all backends as they are.
macro_rules! weigh {
    ($answer:path) => {
        /// # Safety
        /// The host gives `count` records in memory of [`alloc`].
        #[export_name = "weigh"]
        pub unsafe extern "C" fn xlb_export_weigh(
            backends: *mut $crate::xlb::Backend,
            count: u32,
            _strings: u32,
        ) -> u32 {
            match $answer(core::slice::from_raw_parts_mut(backends, count as usize)) {
                Ok(()) => 0,
                Err(number) => number,
            }
        }
    };
}
pub(crate) use weigh;

macro_rules! probe {
    ($check:path) => {
        #[export_name = "probe"]
        pub extern "C" fn xlb_export_probe(timeout_ms: u32) -> u32 {
            u32::from(!$check(timeout_ms))
        }
    };
}
pub(crate) use probe;

macro_rules! config {
    ($parse:path, $put:path) => {
        /// # Safety
        /// The host gives a text in memory of [`alloc`].
        #[export_name = "validate"]
        pub unsafe extern "C" fn xlb_export_validate(text: *const u8, length: u32) -> u64 {
            match $crate::xlb::parsed(text, length, $parse) {
                Ok(_) => 0,
                Err(message) => (message.as_ptr() as u64) << 32 | message.len() as u64,
            }
        }

        /// # Safety
        /// The host gives a text in memory of [`alloc`].
        #[export_name = "configure"]
        pub unsafe extern "C" fn xlb_export_configure(
            text: *const u8,
            length: u32,
            wall: i64,
            monotonic: i64,
        ) -> u32 {
            match $crate::xlb::parsed(text, length, $parse) {
                Ok(config) => {
                    $crate::xlb::set_clock(wall, monotonic);
                    $put(config);
                    0
                }
                Err(_) => 1,
            }
        }
    };
}
pub(crate) use config;

/// No text at all is an empty object.
#[doc(hidden)]
pub unsafe fn parsed<T>(
    text: *const u8,
    length: u32,
    parse: fn(&Object) -> Result<T, &'static str>,
) -> Result<T, &'static str> {
    let text: &[u8] = match length {
        0 => b"{}",
        _ => core::slice::from_raw_parts(text, length as usize),
    };
    match Object::new(text) {
        Some(object) => parse(&object),
        None => Err("not an object of numbers, texts, booleans and lists of them"),
    }
}

#[no_mangle]
pub extern "C" fn xlb_abi_version() -> u32 {
    1
}

/// The host's buffer is all that lies behind the globals: there is no other heap.
/// Its next use overwrites it. 0: no memory.
#[no_mangle]
pub extern "C" fn alloc(size: u32) -> u32 {
    use core::arch::wasm32::{memory_grow, memory_size};
    extern "C" {
        static __heap_base: u8;
    }
    let at = (unsafe { &__heap_base } as *const u8 as u32 + 7) & !7;
    let pages = ((u64::from(at) + u64::from(size) + 0xffff) >> 16) as usize;
    let have = memory_size::<0>();
    if pages > have && memory_grow::<0>(pages - have) == usize::MAX {
        return 0;
    }
    at
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
