//! Signatures of texts, so that near duplicates are found without comparing texts.

/// How many of 64 bits may differ between look-alikes. Among the 81,000 pairs of the sample shop's posts
/// those up to 12 apart are copies or edits; unrelated ones begin at 13.
const TOLERANCE: u32 = 12;

/// A 64-bit simhash over pairs of neighbouring letters, of Latin ones over runs of four, since any two
/// English texts share most pairs. Spaces, case, punctuation and laughter do not count.
///
/// 0 means that there was nothing to sign.
pub fn signature(text: &str) -> u64 {
    let mut votes = Votes::default();
    let mut window = [0_u32; 4];
    // Hangul first: the tables of Unicode are slow.
    let telling = |c: &char| matches!(c, '가'..='힣') || c.is_alphanumeric() && !matches!(c, 'ㄱ'..='ㅣ');
    for letter in text.chars().filter(telling).map(|c| c.to_ascii_lowercase()) {
        window = [window[1], window[2], window[3], letter as u32];
        let length = if letter.is_ascii() { 4 } else { 2 };
        let run = &window[4 - length..];
        if run.contains(&0) {
            continue;
        }
        votes.add(run.iter().fold(0, |hash, letter| mix(hash ^ u64::from(*letter))));
    }
    votes.majority()
}

/// How often each of 64 bits was set: 64 counters side by side, whose digits of one weight share a word.
#[derive(Default)]
struct Votes {
    digits: [u64; 32],
    cast: u32,
}

impl Votes {
    fn add(&mut self, hash: u64) {
        self.cast += 1;
        let mut carry = hash;
        for digit in &mut self.digits {
            (*digit, carry) = (*digit ^ carry, *digit & carry);
            if carry == 0 {
                break;
            }
        }
    }

    /// The bits that more than half of the hashes have.
    fn majority(&self) -> u64 {
        let half = self.cast / 2;
        let (mut more, mut same) = (0, u64::MAX);
        for (weight, digit) in self.digits.iter().enumerate().rev() {
            if half >> weight & 1 == 1 {
                same &= digit;
            } else {
                more |= same & digit;
                same &= !digit;
            }
        }
        more
    }
}

/// Do two signatures belong to texts that say the same in nearly the same words?
pub fn alike(a: u64, b: u64) -> bool {
    a != 0 && b != 0 && (a ^ b).count_ones() <= TOLERANCE
}

/// The finaliser of splitmix64: stored signatures must not change with a library's hasher.
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_alike_and_neighbours_are_not() {
        let post = "주문한 지 열흘이 지났는데 아직도 배송 준비중이라고만 나옵니다. 언제 보내주시나요?";
        for (a, b, expected) in [
            (post, post, true),
            (post, "주문한지 열흘이 지났는데 아직도 배송 준비중이라고만 나옵니다!! 언제 보내주시나요", true),
            (post, "주문한 지 열흘이 지났는데 아직도 배송 준비중이라고만 나와요. 언제 보내주시나요?", true),
            (post, "어제 받은 셔츠 사이즈가 작아서 교환하고 싶은데 어디에 신청하면 되나요?", false),
            (
                "My parcel has not arrived and nobody answers my mails",
                "my parcel has not arrived, and nobody answers my mails!",
                true,
            ),
            ("My parcel has not arrived and nobody answers my mails", "Do you ship to Canada, and how much is it?", false),
            ("", "", false),
        ] {
            assert_eq!(
                alike(signature(a), signature(b)),
                expected,
                "{a} | {b}: {}",
                (signature(a) ^ signature(b)).count_ones()
            );
        }
    }

    #[test]
    fn a_bit_is_set_that_more_than_half_of_the_hashes_have() {
        for hashes in [&[][..], &[5], &[5, 4], &[5, 4, 1], &[7, 1, 2, 1], &[1; 9], &[u64::MAX, 3, 3, 0, 8]] {
            let mut votes = Votes::default();
            hashes.iter().for_each(|hash| votes.add(*hash));
            for bit in 0..64 {
                let set = hashes.iter().filter(|hash| **hash >> bit & 1 == 1).count();
                assert_eq!(votes.majority() >> bit & 1 == 1, set * 2 > hashes.len(), "bit {bit} of {hashes:?}");
            }
        }
    }

    #[test]
    fn stored_signatures_stay_valid() {
        assert_eq!(signature("배송"), mix(mix('배' as u64) ^ '송' as u64));
        assert_eq!(signature("가"), 0);
    }
}
