//! Refuses clients by country, and steers them to backends near them.
//!
//! The table `countries` gives a client's code, a word of up to eight bytes. What
//! the configuration says of each code stands in one sorted list.
#![no_std]

#[path = "../sdk/rust/xlb/mod.rs"]
mod xlb;

mod rules;

use rules::{Rule, Rules};
use xlb::{Flow, Global, Object, Value, Verdict};

const TABLE_COUNTRIES: u32 = 0;
const REASON_DENIED: u16 = 1;
const REASON_NOT_ALLOWED: u16 = 2;
const REASON_UNKNOWN: u16 = 3;
const REASON_STEERED: u16 = 4;

/// The manifest's subsets, in its order.
const GROUPS: [&str; 8] = [
    "group-1", "group-2", "group-3", "group-4", "group-5", "group-6", "group-7", "group-8",
];

struct Config {
    rules: Rules,
    /// Codes that no list has are refused.
    only_allowed: bool,
    deny_unknown: bool,
    reject: bool,
}

static CONFIG: Global<Config> = Global::new(Config {
    rules: Rules::new(),
    only_allowed: false,
    deny_unknown: false,
    reject: false,
});

xlb::flow!(decide);
xlb::config!(parse, put);

fn decide(flow: &Flow) -> Verdict {
    let config = CONFIG.get();
    let refuse = |reason| if config.reject { Verdict::Reject(reason) } else { Verdict::Drop(reason) };
    let code = match xlb::lookup(TABLE_COUNTRIES, flow.source) {
        Some(code) => code,
        None if config.deny_unknown => return refuse(REASON_UNKNOWN),
        None => return Verdict::Continue(REASON_UNKNOWN),
    };
    let rule = config.rules.find(code);
    if rule.denied {
        return refuse(REASON_DENIED);
    }
    if config.only_allowed && !rule.allowed {
        return refuse(REASON_NOT_ALLOWED);
    }
    match rule.group.checked_sub(1) {
        Some(subset) => Verdict::Subset(subset.into(), REASON_STEERED),
        None => Verdict::Continue(0),
    }
}

fn parse(json: &Object) -> Result<Config, &'static str> {
    let mut rules = Rules::new();
    codes(json.get("deny"), &mut rules, |rule| rule.denied = true)?;
    codes(json.get("allow"), &mut rules, |rule| rule.allowed = true)?;
    for (name, group) in GROUPS.iter().zip(1u8..) {
        codes(json.get(name), &mut rules, |rule| rule.group = group)?;
    }
    Ok(Config {
        only_allowed: json.get("allow").is_some(),
        deny_unknown: either(json.get("unknown"), "allow", "deny").ok_or("unknown: allow or deny")?,
        reject: either(json.get("refuse"), "drop", "reject").ok_or("refuse: drop or reject")?,
        rules,
    })
}

/// Does something to the rule of each code of a list.
fn codes(
    list: Option<Value>,
    rules: &mut Rules,
    set: impl Fn(&mut Rule),
) -> Result<(), &'static str> {
    let list = match list {
        Some(list) => list.items().ok_or("deny, allow and groups: lists of codes")?,
        None => return Ok(()),
    };
    for item in list {
        let mut room = [0; 8];
        let code = item.string(&mut room).and_then(|text| xlb::word(text));
        let code = code.ok_or("a code is a text of 1 to 8 bytes, as \"DE\"")?;
        set(rules.of(code).ok_or("more than 512 codes")?);
    }
    Ok(())
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
