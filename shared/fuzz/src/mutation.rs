//! One input made into another, by a seed: the same inputs at each run, on any machine.

/// Numbers that only look random (`SplitMix64`).
#[derive(Debug, Clone)]
pub struct Seed(u64);

impl Seed {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or(0)
    }
}

/// What parsers trip over: put in anywhere.
const HOSTILE: [&[u8]; 44] = [
    b"\0",
    b"\n",
    b"\r\n",
    b" ",
    b".",
    b"*",
    b">",
    b"$JS.API",
    b"../",
    b"%00",
    b"%",
    b"=",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\\udc00\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"{\"a\":",
    b"[[[[[[[[[[[[[[[[",
    b"null",
    b"true",
    b"-0.0",
    b"-1",
    b"1e400",
    b"1e-400",
    b"0.1e1",
    b"9007199254740993",
    b"18446744073709551616",
    b"4294967296",
    b"none",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    "\u{202e}".as_bytes(),
    "\u{200b}".as_bytes(),
    "а".as_bytes(),
    "İ".as_bytes(),
];

/// Longer ones say no more, and take longer.
const BYTES_MAX: usize = 64 * 1024;

/// `input` with one to four changes, some of them taken from `other`.
pub fn mutated(input: &[u8], other: &[u8], seed: &mut Seed) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=seed.below(4) {
        change(&mut bytes, other, seed);
        bytes.truncate(BYTES_MAX);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, other: &[u8], seed: &mut Seed) {
    let at = seed.below(bytes.len() + 1);
    let end = at + seed.below((bytes.len() - at).min(32) + 1);
    match seed.below(9) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << seed.below(8);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = u8::try_from(seed.below(256)).unwrap_or_default();
            }
        }
        2 => drop(bytes.drain(at..end)),
        3 => bytes.truncate(at),
        4 => {
            let again = bytes[at..end].repeat(1 + seed.below(3));
            bytes.splice(at..at, again);
        }
        5 | 6 => {
            let hostile = HOSTILE[seed.below(HOSTILE.len())];
            bytes.splice(at..at, hostile.iter().copied());
        }
        7 => {
            let hostile = HOSTILE[seed.below(HOSTILE.len())];
            bytes.splice(at..end, hostile.iter().copied());
        }
        _ => {
            let from = seed.below(other.len() + 1);
            let to = from + seed.below((other.len() - from).min(256) + 1);
            bytes.splice(at..end, other[from..to].iter().copied());
        }
    }
}
