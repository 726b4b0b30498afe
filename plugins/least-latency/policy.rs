//! Weighs backends by the latency of their probes, slowly.
//!
//! A backend's factor is what its configured weight is multiplied with. It tends
//! to (least latency + slack) / (own latency + slack), at most 1 and at least the
//! floor: the fastest keeps its weight, one that takes twice as long half of it.
//! Once an interval each factor goes a part of the way (damping), at most one step;
//! in between, and while a factor is near where it should be, the answer is the
//! same, so that asking does not change anything.
#![no_std]

#[path = "../sdk/rust/xlb/mod.rs"]
mod xlb;

mod memory;

use memory::{Memory, ONE};
use xlb::{Backend, Global, Object};

/// Weights are multiplied with this, if all of them allow it, so that a factor
/// makes a difference to small ones.
const SCALE: u32 = 100;
const MOST: u32 = 65535;
const REASON_SLOWER: u32 = 1;

struct Config {
    /// What is added to all latencies, so that noise of microseconds is nothing.
    slack_ns: u64,
    interval_ns: u64,
    /// In units of [`ONE`], as the factors.
    damping: u64,
    step: u64,
    floor: u64,
}

static CONFIG: Global<Config> =
    Global::new(Config { slack_ns: 1, interval_ns: 1, damping: 0, step: 0, floor: ONE });

static MEMORY: Global<Memory> = Global::new(Memory::new());

xlb::weigh!(weigh);
xlb::config!(parse, put);

fn weigh(backends: &mut [Backend]) -> Result<(), u32> {
    let config = CONFIG.get();
    let mut memory = MEMORY.get();
    let now = xlb::now();
    let measured = |b: &&mut Backend| b.usable() && b.latency_ns > 0;
    let least = match backends.iter_mut().filter(measured).map(|b| b.latency_ns).min() {
        Some(least) => least.saturating_add(config.slack_ns),
        None => return Ok(()),
    };
    let most = backends.iter().map(|b| b.weight).max().unwrap_or(0);
    let scale = if most <= MOST / SCALE { SCALE } else { 1 };
    for b in backends.iter_mut() {
        let mut factor = ONE;
        if b.usable() && b.latency_ns > 0 {
            let own = b.latency_ns.saturating_add(config.slack_ns);
            let target = ratio(least, own).clamp(config.floor, ONE);
            let cell = memory.of(b, now);
            if now.wrapping_sub(cell.moved_at) >= config.interval_ns {
                cell.factor = moved(cell.factor, target, &config);
                cell.moved_at = now;
            }
            factor = cell.factor;
        }
        let weight = u64::from(b.weight * scale) * factor / ONE;
        // Weight 0 would take the backend out, which is for probes to say.
        b.new_weight = if b.weight == 0 { 0 } else { weight.max(1) as i32 };
        b.reason = if factor < ONE { REASON_SLOWER } else { 0 };
    }
    Ok(())
}

/// a / b in units of [`ONE`], for a of at most b.
fn ratio(a: u64, b: u64) -> u64 {
    // Both lose the same bits, so that the product fits.
    let shift = 64u32.saturating_sub(b.leading_zeros()).saturating_sub(40);
    (a >> shift) * ONE / (b >> shift)
}

/// A factor on its way to a target. Within a fiftieth it stays: a smaller change
/// is not worth one of the table.
fn moved(factor: u64, target: u64, config: &Config) -> u64 {
    let distance = target.abs_diff(factor);
    if distance < ONE / 50 {
        return factor;
    }
    let way = (distance * config.damping / ONE).clamp(1, config.step.max(1));
    if target > factor {
        factor + way
    } else {
        factor - way
    }
}

fn parse(json: &Object) -> Result<Config, &'static str> {
    let number = |key, places, least, most, otherwise| match json.get(key) {
        None => Some(otherwise),
        Some(value) => value.decimal(places).filter(|&n| n >= least && n <= most).map(|n| n as u64),
    };
    // Percents in thousandths, of which a whole has as many as ONE.
    let percent = |key, least, otherwise| number(key, 3, least, ONE as i64, otherwise);
    let times = |value: u64, ns: u64| value * ns;
    Ok(Config {
        slack_ns: times(
            number("slack_ms", 3, 1, 1_000_000, 1000)
                .ok_or("slack_ms: milliseconds, 0.001 to 1000")?,
            1000,
        ),
        interval_ns: times(
            number("interval_s", 3, 1, 3_600_000, 5000).ok_or("interval_s: seconds, 0.001 to 3600")?,
            1_000_000,
        ),
        damping: percent("damping", 1, 30_000).ok_or("damping: percent of the way, 0.001 to 100")?,
        step: percent("step", 1, 10_000).ok_or("step: percent of the weight, 0.001 to 100")?,
        floor: percent("floor", 1, 10_000).ok_or("floor: percent of the weight, 0.001 to 100")?,
    })
}

fn put(config: Config) {
    *CONFIG.get() = config;
}
