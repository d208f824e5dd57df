//! Syllables as lead, vowel and tail, and back.

/// Tails by number, as they stand in a syllable.
pub(crate) const NONE: u32 = 0;
pub(crate) const T_D: u32 = 7;
pub(crate) const T_N: u32 = 4;
pub(crate) const T_L: u32 = 8;
pub(crate) const T_LM: u32 = 10;
pub(crate) const T_M: u32 = 16;
pub(crate) const T_B: u32 = 17;
pub(crate) const T_S: u32 = 19;
pub(crate) const T_SS: u32 = 20;
pub(crate) const T_K: u32 = 24;
pub(crate) const T_H: u32 = 27;

/// Vowels by number.
pub(crate) const A: u32 = 0;
pub(crate) const AE: u32 = 1;
pub(crate) const YA: u32 = 2;
pub(crate) const YAE: u32 = 3;
pub(crate) const EO: u32 = 4;
pub(crate) const E: u32 = 5;
pub(crate) const YEO: u32 = 6;
pub(crate) const YE: u32 = 7;
pub(crate) const O: u32 = 8;
pub(crate) const WA: u32 = 9;
pub(crate) const WAE: u32 = 10;
pub(crate) const OE: u32 = 11;
pub(crate) const U: u32 = 13;
pub(crate) const WO: u32 = 14;
pub(crate) const WI: u32 = 16;
pub(crate) const EU: u32 = 18;
pub(crate) const I: u32 = 20;

/// A whole Hangul syllable.
pub(crate) fn is(char: char) -> bool {
    ('가'..='힣').contains(&char)
}

/// Lead, vowel and tail.
pub(crate) fn split(syllable: char) -> Option<(u32, u32, u32)> {
    let code = u32::from(syllable).checked_sub(0xac00).filter(|code| *code < 11_172)?;
    Some((code / 588, code / 28 % 21, code % 28))
}

/// The syllable of lead, vowel and tail.
pub(crate) fn join(lead: u32, vowel: u32, tail: u32) -> char {
    char::from_u32(0xac00 + lead * 588 + vowel * 28 + tail).unwrap_or('가')
}
