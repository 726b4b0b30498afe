//! Gives backends with a tag a part of their weight.
#![no_std]

mod xlb;

use xlb::{Backend, Global, Object};

// As in policy.yaml.
const REASON_TAG: u32 = 1;

struct Config {
    tag: [u8; 64],
    length: usize,
    percent: u32,
}

static CONFIG: Global<Config> = Global::new(Config { tag: [0; 64], length: 0, percent: 0 });

xlb::weigh!(weigh);
xlb::config!(parse, put);

fn weigh(backends: &mut [Backend]) -> Result<(), u32> {
    let config = CONFIG.get();
    let tag = config.tag.get(..config.length).unwrap_or(&[]);
    for b in backends.iter_mut().filter(|b| b.tags().split(|&c| c == b',').any(|t| t == tag)) {
        b.new_weight = (b.weight * config.percent / 100) as i32;
        b.reason = REASON_TAG;
    }
    Ok(())
}

fn parse(json: &Object) -> Result<Config, &'static str> {
    let mut tag = [0; 64];
    let length = json.get("tag").and_then(|v| v.string(&mut tag)).map_or(0, |text| text.len());
    if length == 0 {
        return Err("tag: a text of 1 to 64 bytes");
    }
    let percent = match json.get("percent") {
        None => 50,
        Some(v) => match v.integer() {
            Some(n @ 0..=100) => n as u32,
            _ => return Err("percent: 0 to 100"),
        },
    };
    Ok(Config { tag, length, percent })
}

fn put(config: Config) {
    *CONFIG.get() = config;
}
