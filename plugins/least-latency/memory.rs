//! What is remembered of each backend: a table of fixed size, by address and port.

use super::xlb::{mix, Backend};

/// A factor of one: as many thousandths of a percent as a whole has.
pub const ONE: u64 = 100_000;

const SETS: usize = 512;
const WAYS: usize = 4;

#[derive(Clone, Copy)]
pub struct Cell {
    key: u64,
    used_at: u64,
    /// When the factor last moved, or was made.
    pub moved_at: u64,
    pub factor: u64,
}

pub struct Memory([[Cell; WAYS]; SETS]);

impl Memory {
    pub const fn new() -> Self {
        Memory([[Cell { key: 0, used_at: 0, moved_at: 0, factor: 0 }; WAYS]; SETS])
    }

    /// The cell of a backend. A new one takes the place of the one that was not
    /// asked for longest, and begins with the configured weight.
    pub fn of(&mut self, b: &Backend, now: u64) -> &mut Cell {
        let address = b.address();
        // Never 0, which marks a free cell.
        let key = address.hash(b.port.into()) | 1;
        let set = &mut self.0[mix(key) as usize % SETS];
        let place = match set.iter().position(|cell| cell.key == key) {
            Some(place) => place,
            None => {
                let oldest = (1..WAYS).fold(0, |oldest, i| {
                    if set[i].used_at < set[oldest].used_at { i } else { oldest }
                });
                set[oldest] = Cell { key, used_at: now, moved_at: now, factor: ONE };
                oldest
            }
        };
        set[place].used_at = now;
        &mut set[place]
    }
}
