//! All of the SDK, for the test that compares it with the others.
#![no_std]

#[path = "../sdk/rust/xlb/mod.rs"]
mod xlb;

use xlb::{Address, Backend, Flow, Global, Level, Object, Verdict};

#[no_mangle]
pub extern "C" fn prefix_hi(hi: u64, lo: u64, ipv4: u32, ipv6: u32) -> u64 {
    Address { hi, lo }.prefix(ipv4, ipv6).hi
}

#[no_mangle]
pub extern "C" fn prefix_lo(hi: u64, lo: u64, ipv4: u32, ipv6: u32) -> u64 {
    Address { hi, lo }.prefix(ipv4, ipv6).lo
}

#[no_mangle]
pub extern "C" fn hash(hi: u64, lo: u64, seed: u64) -> u64 {
    Address { hi, lo }.hash(seed)
}

xlb::flow!(flow);
xlb::weigh!(weigh);
xlb::probe!(probe);
xlb::config!(parse, put);

/// The flow's ports are the verdict's kind and reason, its hash the operand.
fn flow(f: &Flow) -> Verdict {
    let (operand, reason) = (f.hash as u32, f.destination_port as u16);
    match f.source_port {
        0 => Verdict::Continue(reason),
        1 => Verdict::Drop(reason),
        2 => Verdict::Reject(reason),
        3 => Verdict::Backend(operand, reason),
        4 => Verdict::Subset(operand, reason),
        5 => Verdict::Hash(operand, reason),
        // Every parameter counts.
        _ => Verdict::Hash(
            (f.source.hi + 2 * f.source.lo + 3 * f.destination.hi + 5 * f.destination.lo) as u32
                + 7 * f.protocol
                + 11 * f.tcp_flags
                + 13 * f.hash as u32
                + 17 * f.backends,
            0,
        ),
    }
}

fn weigh(backends: &mut [Backend]) -> Result<(), u32> {
    for b in backends {
        if b.errors_total == 99 {
            return Err(7);
        }
        b.new_weight = if b.usable() { b.weight as i32 + i32::from(b.port) } else { 0 };
        b.new_tier = b.tier as i32 + i32::from(b.has_tag("b"));
        b.eject = (b.zone() == b"z").into();
        let sum = b.latency_ns + b.flows + b.flows_total + b.errors_total;
        b.reason = (b.address().lo & 0xff) as u32 + sum as u32;
    }
    Ok(())
}

fn probe(timeout_ms: u32) -> bool {
    let mut got = [0; 16];
    xlb::log(Level::Warn, "careful");
    xlb::count(3, -5);
    if xlb::write(b"hello") != Some(5) {
        return false;
    }
    let n = xlb::read(&mut got).unwrap_or(0);
    xlb::set_reason(got.get(..n).unwrap_or(&[]));
    xlb::set_role(b"primary");
    timeout_ms == 1234
        && xlb::random() == 4
        && xlb::lookup(1, Address { hi: 10, lo: 20 }) == Some(30)
        && xlb::lookup_integer(2, 77) == None
        && xlb::word(b"DE") == Some(0x4445)
}

static NUMBER: Global<i64> = Global::new(0);

fn parse(json: &Object) -> Result<i64, &'static str> {
    json.get("number").and_then(|v| v.integer()).ok_or("number: it is missing")
}

fn put(number: i64) {
    *NUMBER.get() = number;
}

#[no_mangle]
pub extern "C" fn state() -> i64 {
    xlb::wall() + *NUMBER.get()
}
