//! Signatures of texts, so that near duplicates are found without comparing texts.

/// How many of 64 bits may differ between look-alikes.
const TOLERANCE: u32 = 12;

/// A 64-bit simhash over the pairs of neighbouring letters; spaces, case and punctuation do not count.
///
/// 0 means that there was nothing to sign.
pub fn signature(text: &str) -> u64 {
    let mut votes = [0_i32; 64];
    let mut before = None;
    let letters = text.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase());
    for letter in letters {
        if let Some(before) = before {
            let hash = mix((before as u64) << 32 | letter as u64);
            for (bit, vote) in votes.iter_mut().enumerate() {
                *vote += ((hash >> bit & 1) as i32) * 2 - 1;
            }
        }
        before = Some(letter);
    }
    votes.iter().enumerate().fold(0, |sum, (bit, vote)| sum | u64::from(*vote > 0) << bit)
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
    fn stored_signatures_stay_valid() {
        assert_eq!(signature("배송"), mix(('배' as u64) << 32 | '송' as u64));
        assert_eq!(signature("가"), 0);
    }
}
