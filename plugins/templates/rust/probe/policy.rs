//! Healthy is who gives the wanted answer.
#![no_std]

mod xlb;

use xlb::{Global, Object, Value};

#[derive(Clone, Copy)]
struct Text {
    bytes: [u8; 64],
    length: usize,
}

impl Text {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }
}

struct Config {
    send: Text,
    expect: Text,
}

const EMPTY: Text = Text { bytes: [0; 64], length: 0 };
static CONFIG: Global<Config> = Global::new(Config { send: EMPTY, expect: EMPTY });

xlb::probe!(check);
xlb::config!(parse, put);

/// The host ends a read that takes longer than the timeout.
fn check(_timeout_ms: u32) -> bool {
    match answer(&CONFIG.get()) {
        Ok(()) => {
            xlb::set_role(b"server");
            true
        }
        Err(why) => {
            xlb::set_reason(why);
            false
        }
    }
}

fn answer(config: &Config) -> Result<(), &'static [u8]> {
    if config.send.length > 0 {
        xlb::write(config.send.bytes()).ok_or(&b"cannot send"[..])?;
    }
    let mut left = config.expect.bytes();
    let mut room = [0; 64];
    while !left.is_empty() {
        let part = &mut room[..left.len().min(64)];
        let n = xlb::read(part).filter(|&n| n > 0).ok_or(&b"no whole answer"[..])?;
        left = part.get(..n).and_then(|got| left.strip_prefix(got)).ok_or(&b"unexpected answer"[..])?;
    }
    Ok(())
}

fn parse(json: &Object) -> Result<Config, &'static str> {
    Ok(Config {
        send: text(json.get("send"), b"PING\r\n").ok_or("send: a text of at most 64 bytes")?,
        expect: text(json.get("expect"), b"+PONG")
            .filter(|t| t.length > 0)
            .ok_or("expect: a text of 1 to 64 bytes")?,
    })
}

/// A text of the configuration, else another.
fn text(value: Option<Value>, otherwise: &[u8]) -> Option<Text> {
    let mut text = EMPTY;
    text.length = match value {
        Some(value) => value.string(&mut text.bytes)?.len(),
        None => {
            text.bytes.get_mut(..otherwise.len())?.copy_from_slice(otherwise);
            otherwise.len()
        }
    };
    Some(text)
}

fn put(config: Config) {
    *CONFIG.get() = config;
}
