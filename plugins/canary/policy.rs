//! Sends a share of the clients, or of the flows, to the backends under trial.
//!
//! A client that is on trial at five percent is at ten percent as well: a share is
//! all hashes below a threshold, and the threshold moves.
#![no_std]

#[path = "../sdk/rust/xlb/mod.rs"]
mod xlb;

use xlb::{Flow, Global, Object, Value, Verdict};

const TABLE_TESTERS: u32 = 0;
const SUBSET_CANARY: u32 = 0;
const SUBSET_STABLE: u32 = 1;
const REASON_CANARY: u16 = 1;
const REASON_TESTER: u16 = 2;
const REASON_STABLE: u16 = 3;

/// A whole in the unit of the share: thousandths of a percent.
const WHOLE: u64 = 100_000;

struct Config {
    share: u64,
    by_flow: bool,
    rest_stable: bool,
    seed: u64,
}

static CONFIG: Global<Config> =
    Global::new(Config { share: 0, by_flow: false, rest_stable: false, seed: 0 });

xlb::flow!(decide);
xlb::config!(parse, put);

fn decide(flow: &Flow) -> Verdict {
    let config = CONFIG.get();
    if xlb::lookup(TABLE_TESTERS, flow.source).is_some() {
        return Verdict::Subset(SUBSET_CANARY, REASON_TESTER);
    }
    // A client of IPv6 changes its address within a subnet, day by day. The flow's
    // hash is mixed, because the service's table is asked with it as well.
    let hash = if config.by_flow {
        xlb::mix(flow.hash ^ config.seed)
    } else {
        flow.source.prefix(32, 64).hash(config.seed)
    };
    if (hash >> 32) * WHOLE >> 32 < config.share {
        Verdict::Subset(SUBSET_CANARY, REASON_CANARY)
    } else if config.rest_stable {
        Verdict::Subset(SUBSET_STABLE, REASON_STABLE)
    } else {
        Verdict::Continue(0)
    }
}

fn parse(json: &Object) -> Result<Config, &'static str> {
    let number = |key, places, most| match json.get(key) {
        None => Some(0),
        Some(value) => value.decimal(places).filter(|&n| n >= 0 && n <= most).map(|n| n as u64),
    };
    Ok(Config {
        share: number("percent", 3, WHOLE as i64).ok_or("percent: 0 to 100, with at most three decimals")?,
        by_flow: either(json.get("by"), "client", "flow").ok_or("by: client or flow")?,
        rest_stable: !either(json.get("rest"), "stable", "all").ok_or("rest: stable or all")?,
        seed: number("seed", 0, u32::MAX.into()).ok_or("seed: 0 to 4294967295")?,
    })
}

/// Whether it is the second word; the first is meant if there is no value.
fn either(value: Option<Value>, first: &str, second: &str) -> Option<bool> {
    match value {
        None => Some(false),
        Some(value) if value.is(first) => Some(false),
        Some(value) if value.is(second) => Some(true),
        Some(_) => None,
    }
}

fn put(config: Config) {
    *CONFIG.get() = config;
}
