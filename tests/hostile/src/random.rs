//! Numbers that only look random. Marsaglia's xorshift64*: no quality is needed, only repetition.

#![forbid(unsafe_code)]

/// A source of numbers, the same for the same start.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers of one mutant. Neighbouring mutants get numbers that have nothing in common (splitmix64).
    pub fn new(seed: u64, number: u64) -> Self {
        let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self((z ^ (z >> 31)) | 1)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `limit`; 0 where there is none.
    pub fn below(&mut self, limit: usize) -> usize {
        // The upper half is the better one.
        (self.number() >> 32) as usize % limit.max(1)
    }

    /// One chance in `n`.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// How often a mutant is broken: once for every other one, and four times at most. What is broken in many places
    /// is refused for the first, and the others are never looked at.
    pub fn breaks(&mut self) -> u32 {
        1 + self.number().leading_zeros().min(3)
    }

    /// One of several.
    ///
    /// # Panics
    /// There are none.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// A word that nobody finds in the input, since it is made of all of it: what stands in for a secret where the input is
/// anybody's. A fuzzer sees what texts are compared with, and would sooner or later put any fixed word together of pieces.
pub fn secret(input: &[u8]) -> String {
    // FNV-1a, mixed once more by the generator.
    let sum = input.iter().fold(0xCBF2_9CE4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    });
    format!("Zq{:016x}", Random::new(sum, input.len() as u64).number())
}
