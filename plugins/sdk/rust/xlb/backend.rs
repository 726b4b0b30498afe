// SPDX-License-Identifier: Apache-2.0
//! The record of the weigh hook.

use super::Address;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum State {
    Unknown,
    Up,
    Down,
    Draining,
}

/// A backend, and the answer about it. As given, the answer leaves all as it is.
#[repr(C)]
pub struct Backend {
    address: [u8; 16],
    pub port: u16,
    state: u8,
    reserved: u8,
    /// As configured, or as the operator set it: 0 to 65535.
    pub weight: u32,
    /// 0 to 255.
    pub tier: u32,
    zone: *const u8,
    zone_length: u32,
    tags: *const u8,
    tags_length: u32,
    reserved2: u32,
    /// Of probes, smoothed; 0: not known.
    pub latency_ns: u64,
    /// Live now.
    pub flows: u64,
    pub flows_total: u64,
    /// Failed probes.
    pub errors_total: u64,
    /// 0 to 65535, or -1: leave.
    pub new_weight: i32,
    /// 0 to 255, or -1: leave.
    pub new_tier: i32,
    /// 1: no new flows.
    pub eject: u32,
    /// Shown to the operator, 0 to 65535.
    pub reason: u32,
}

const _: () = assert!(core::mem::size_of::<Backend>() == 96);

impl Backend {
    pub fn address(&self) -> Address {
        let number = u128::from_be_bytes(self.address);
        Address { hi: (number >> 64) as u64, lo: number as u64 }
    }

    pub fn state(&self) -> State {
        match self.state {
            1 => State::Up,
            2 => State::Down,
            3 => State::Draining,
            _ => State::Unknown,
        }
    }

    /// Whether the backend takes new flows.
    pub fn usable(&self) -> bool {
        self.weight > 0 && matches!(self.state(), State::Unknown | State::Up)
    }

    pub fn zone(&self) -> &[u8] {
        text(self.zone, self.zone_length)
    }

    /// With commas between.
    pub fn tags(&self) -> &[u8] {
        text(self.tags, self.tags_length)
    }

    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags().split(|&byte| byte == b',').any(|t| t == tag.as_bytes())
    }
}

/// The host's texts lie in the same buffer as the record.
fn text<'a>(at: *const u8, length: u32) -> &'a [u8] {
    if length == 0 {
        return &[];
    }
    unsafe { core::slice::from_raw_parts(at, length as usize) }
}
