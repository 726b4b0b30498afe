// SPDX-License-Identifier: Apache-2.0
//! A reader of flat JSON objects: values are numbers, strings, booleans, null and
//! arrays of these. It reads in place and keeps nothing.

/// A text that is a flat object.
pub struct Object<'a>(&'a [u8]);

/// A value of an object: a scalar or an array of scalars, never null.
#[derive(Clone, Copy)]
pub struct Value<'a>(&'a [u8]);

impl<'a> Object<'a> {
    /// Nothing if the text is no flat object.
    pub fn new(text: &'a [u8]) -> Option<Object<'a>> {
        Reader(text).object(|_, _| ())?;
        Some(Object(text))
    }

    /// The value of a key, of several the last; nothing if it is not there, or null.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        let mut found = None;
        Reader(self.0).object(|name, value| {
            if name.is(key) {
                found = Some(value);
            }
        })?;
        found.filter(|value| value.0.first() != Some(&b'n'))
    }
}

impl<'a> Value<'a> {
    /// Whether it is a string and this word.
    pub fn is(self, word: &str) -> bool {
        let mut rest = word.as_bytes();
        let whole = self.characters(|bytes| match rest.strip_prefix(bytes) {
            Some(behind) => {
                rest = behind;
                true
            }
            None => false,
        });
        whole && rest.is_empty()
    }

    /// A string's bytes, if there is room for them.
    pub fn string<'b>(self, room: &'b mut [u8]) -> Option<&'b [u8]> {
        let mut used = 0;
        let whole = self.characters(|bytes| match room.get_mut(used..used + bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                used += bytes.len();
                true
            }
            None => false,
        });
        if whole {
            room.get(..used)
        } else {
            None
        }
    }

    pub fn boolean(self) -> Option<bool> {
        match self.0 {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    pub fn integer(self) -> Option<i64> {
        self.decimal(0)
    }

    /// A number times ten to the power of places, as 12.5 with two places is 1250.
    /// Nothing if it is none, has more places or an exponent, or is beyond ±10^18.
    pub fn decimal(self, places: u32) -> Option<i64> {
        let digits = self.0.strip_prefix(b"-").unwrap_or(self.0);
        let (mut n, mut point, mut left) = (0, false, places);
        for &byte in digits {
            match byte {
                b'.' => {
                    point = true;
                    continue;
                }
                b'0'..=b'9' => n = append(n, byte - b'0')?,
                _ => return None,
            }
            if point {
                left = left.checked_sub(1)?;
            }
        }
        for _ in 0..left {
            n = append(n, 0)?;
        }
        Some(if digits.len() < self.0.len() { -n } else { n })
    }

    /// The items of an array; nothing if it is none.
    pub fn items(self) -> Option<Items<'a>> {
        let mut reader = Reader(self.0);
        reader.take(b'[')?;
        Some(Items { reader, first: true })
    }

    /// Calls with each character as UTF-8, until told to stop; true at the end.
    fn characters(self, mut each: impl FnMut(&[u8]) -> bool) -> bool {
        let mut reader = Reader(self.0);
        if reader.byte() != Some(b'"') {
            return false;
        }
        let mut room = [0; 4];
        while let Some(length) = reader.character(&mut room) {
            if length == 0 {
                return true;
            }
            if !each(&room[..length.min(4)]) {
                return false;
            }
        }
        false
    }
}

/// A number with a digit behind it, unless that is beyond 10^18.
fn append(n: i64, digit: u8) -> Option<i64> {
    let longer = n.checked_mul(10)?.checked_add(digit.into())?;
    Some(longer).filter(|&n| n <= 1_000_000_000_000_000_000)
}

/// The items of an array.
pub struct Items<'a> {
    reader: Reader<'a>,
    first: bool,
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        if self.reader.take(b']').is_some() {
            return None;
        }
        if !self.first {
            self.reader.take(b',')?;
        }
        self.first = false;
        self.reader.value(Reader::pass_scalar)
    }
}

/// What is left of a text.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn next_is(&self, set: &[u8]) -> bool {
        self.0.first().map_or(false, |byte| set.contains(byte))
    }

    fn skip(&mut self, set: &[u8]) -> bool {
        let from = self.0.len();
        while self.next_is(set) {
            self.byte();
        }
        self.0.len() < from
    }

    /// Passes a byte, if it comes next, and spaces around it.
    fn take(&mut self, byte: u8) -> Option<()> {
        self.skip(b" \t\n\r");
        self.0 = self.0.strip_prefix(&[byte])?;
        self.skip(b" \t\n\r");
        Some(())
    }

    /// Calls with each key and value; nothing if it is not one flat object.
    fn object(mut self, mut each: impl FnMut(Value<'a>, Value<'a>)) -> Option<()> {
        self.take(b'{')?;
        if self.take(b'}').is_none() {
            loop {
                let key = self.value(Reader::pass_string)?;
                self.take(b':')?;
                each(key, self.value(Reader::pass_value)?);
                if self.take(b',').is_none() {
                    break;
                }
            }
            self.take(b'}')?;
        }
        if self.0.is_empty() {
            Some(())
        } else {
            None
        }
    }

    /// What a function passes.
    fn value(&mut self, pass: fn(&mut Self) -> Option<()>) -> Option<Value<'a>> {
        let from = self.0;
        pass(self)?;
        from.get(..from.len() - self.0.len()).map(Value)
    }

    fn pass_value(&mut self) -> Option<()> {
        if !self.next_is(b"[") {
            return self.pass_scalar();
        }
        self.take(b'[')?;
        if self.take(b']').is_some() {
            return Some(());
        }
        self.pass_scalar()?;
        while self.take(b',').is_some() {
            self.pass_scalar()?;
        }
        self.take(b']')
    }

    fn pass_scalar(&mut self) -> Option<()> {
        for word in [&b"true"[..], b"false", b"null"] {
            if let Some(rest) = self.0.strip_prefix(word) {
                self.0 = rest;
                return Some(());
            }
        }
        if self.next_is(b"\"") {
            self.pass_string()
        } else {
            self.pass_number()
        }
    }

    fn pass_number(&mut self) -> Option<()> {
        let digits = b"0123456789";
        let some = |yes: bool| if yes { Some(()) } else { None };
        self.0 = self.0.strip_prefix(b"-").unwrap_or(self.0);
        match self.0.strip_prefix(b"0") {
            Some(rest) => self.0 = rest,
            None => some(self.skip(digits))?,
        }
        if let Some(rest) = self.0.strip_prefix(b".") {
            self.0 = rest;
            some(self.skip(digits))?;
        }
        if self.next_is(b"eE") {
            self.byte();
            if self.next_is(b"+-") {
                self.byte();
            }
            some(self.skip(digits))?;
        }
        Some(())
    }

    fn pass_string(&mut self) -> Option<()> {
        self.0 = self.0.strip_prefix(b"\"")?;
        let mut room = [0; 4];
        while self.character(&mut room)? > 0 {}
        Some(())
    }

    /// The next character within a string as UTF-8: its length, 0 at the closing
    /// quote, nothing if it is none.
    fn character(&mut self, room: &mut [u8; 4]) -> Option<usize> {
        let byte = self.byte().filter(|&byte| byte >= 0x20)?;
        room[0] = match byte {
            b'"' => return Some(0),
            b'\\' => match self.byte()? {
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'u' => return Some(self.unicode()?.encode_utf8(room).len()),
                plain @ (b'"' | b'\\' | b'/') => plain,
                _ => return None,
            },
            plain => plain,
        };
        Some(1)
    }

    /// What \u says: a character of one or two units; a lone surrogate is U+FFFD.
    fn unicode(&mut self) -> Option<char> {
        let high = self.hex()?;
        let mut behind = Reader(self.0.strip_prefix(b"\\u").unwrap_or(b""));
        if let (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) = (high, behind.hex()) {
            self.0 = behind.0;
            return char::from_u32(0x1_0000 + ((high - 0xd800) << 10 | (low - 0xdc00)));
        }
        Some(char::from_u32(high).unwrap_or('\u{fffd}'))
    }

    fn hex(&mut self) -> Option<u32> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = match self.byte()? {
                digit @ b'0'..=b'9' => digit - b'0',
                digit @ b'a'..=b'f' => digit - b'a' + 10,
                digit @ b'A'..=b'F' => digit - b'A' + 10,
                _ => return None,
            };
            value = value << 4 | u32::from(digit);
        }
        Some(value)
    }
}
