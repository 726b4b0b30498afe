//! What is said of each code, sorted by code.

const ROOM: usize = 512;

#[derive(Clone, Copy)]
pub struct Rule {
    code: u64,
    pub denied: bool,
    pub allowed: bool,
    /// From 1; 0 is none.
    pub group: u8,
}

const NONE: Rule = Rule { code: 0, denied: false, allowed: false, group: 0 };

pub struct Rules {
    used: usize,
    rules: [Rule; ROOM],
}

impl Rules {
    pub const fn new() -> Self {
        Rules { used: 0, rules: [NONE; ROOM] }
    }

    /// The rule of a code; one that says nothing if there is none.
    pub fn find(&self, code: u64) -> Rule {
        self.place(code).ok().and_then(|at| self.rules.get(at)).copied().unwrap_or(NONE)
    }

    /// The rule of a code, a new one if there is none; nothing if there is no room.
    pub fn of(&mut self, code: u64) -> Option<&mut Rule> {
        let at = match self.place(code) {
            Ok(at) => at,
            Err(at) => {
                if self.used == ROOM {
                    return None;
                }
                self.rules.get_mut(at..=self.used)?.rotate_right(1);
                *self.rules.get_mut(at)? = Rule { code, ..NONE };
                self.used += 1;
                at
            }
        };
        self.rules.get_mut(at)
    }

    fn place(&self, code: u64) -> Result<usize, usize> {
        let used = self.rules.get(..self.used).unwrap_or(&[]);
        used.binary_search_by_key(&code, |rule| rule.code)
    }
}
