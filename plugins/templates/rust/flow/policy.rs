//! Refuses the clients of the table `blocked`.
#![no_std]

mod xlb;

use xlb::{Flow, Global, Object, Verdict};

// As in policy.yaml.
const TABLE_BLOCKED: u32 = 0;
const COUNTER_REFUSED: u32 = 0;
const REASON_BLOCKED: u16 = 1;

struct Config {
    reject: bool,
}

static CONFIG: Global<Config> = Global::new(Config { reject: false });

xlb::flow!(decide);
xlb::config!(parse, put);

fn decide(flow: &Flow) -> Verdict {
    if xlb::lookup(TABLE_BLOCKED, flow.source).is_none() {
        return Verdict::Continue(0);
    }
    xlb::count(COUNTER_REFUSED, 1);
    if CONFIG.get().reject {
        Verdict::Reject(REASON_BLOCKED)
    } else {
        Verdict::Drop(REASON_BLOCKED)
    }
}

fn parse(json: &Object) -> Result<Config, &'static str> {
    match json.get("refuse") {
        None => Ok(Config { reject: false }),
        Some(word) if word.is("drop") => Ok(Config { reject: false }),
        Some(word) if word.is("reject") => Ok(Config { reject: true }),
        Some(_) => Err("refuse: drop or reject"),
    }
}

fn put(config: Config) {
    *CONFIG.get() = config;
}
