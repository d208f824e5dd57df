//! One spelling for what looks alike: NFC, no invisible characters, ASCII forms of full-width ones.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// Brings `text` into the one spelling that rules, masks and the index expect.
///
/// Composed (NFC), without control, bidi and zero-width characters except the newline, full-width
/// ASCII and dashes as ASCII, odd spaces as spaces, half-width jamo joined to syllables, and lone
/// conjoining jamo as the letters that a keyboard gives. Text that is so already is not copied.
pub fn normalise(text: &str) -> Cow<'_, str> {
    if text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    let visible = strip_invisible(text);
    let mut out = String::with_capacity(visible.len());
    let mut half = Vec::new();
    for c in visible.chars().flat_map(narrow).nfc().map(loose_jamo) {
        if let Some(letter) = half_width_jamo(c) {
            half.push(letter);
            continue;
        }
        compose_jamo(&mut half, &mut out);
        out.push(c);
    }
    compose_jamo(&mut half, &mut out);
    Cow::Owned(out)
}

/// Drops what could hide or reorder text on a screen: control characters other than the newline,
/// bidi marks, zero-width characters and tags. Joiners between the parts of an emoji stay.
pub fn strip_invisible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| invisible(c) || c == '\t') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        let joins_emoji = matches!(c, '\u{200d}' | '\u{fe0f}') && before > '\u{2000}' && !before.is_alphanumeric();
        if c == '\t' {
            out.push(' ');
        } else if !invisible(c) || joins_emoji {
            out.push(c);
        }
        before = c;
    }
    Cow::Owned(out)
}

/// Certainly in its final spelling, and never composing with what follows.
fn plain(c: char) -> bool {
    matches!(c, ' '..='~' | '\n' | '\u{3131}'..='\u{3163}' | '가'..='힣' | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fe}'
        | '\u{4e00}'..='\u{9fff}' | '\u{3001}' | '\u{3002}' | '\u{2026}' | '\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}'
        | '\u{1f300}'..='\u{1faff}')
}

fn invisible(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The plain form of a character that a font or an input method dressed up.
fn narrow(c: char) -> impl Iterator<Item = char> {
    let single = match c {
        '\u{ff01}'..='\u{ff5e}' => shifted(c, 0xff01, '!'),
        '\u{3000}' | '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' => ' ',
        '\u{2010}'..='\u{2013}' | '\u{2212}' => '-',
        _ => c,
    };
    // Mathematical letters are a way around word lists.
    let fancy = matches!(single, '\u{1d400}'..='\u{1d7ff}').then(|| std::iter::once(single).nfkc());
    let kept = fancy.is_none().then_some(single);
    fancy.into_iter().flatten().chain(kept)
}

/// The keyboard letter of a conjoining one that NFC found no syllable for.
fn loose_jamo(c: char) -> char {
    match c {
        '\u{1100}'..='\u{1112}' => LEADS[c as usize - 0x1100],
        '\u{1161}'..='\u{1175}' => shifted(c, 0x1161, 'ㅏ'),
        '\u{11a8}'..='\u{11c2}' => TAILS[c as usize - 0x11a8],
        _ => c,
    }
}

fn shifted(c: char, from: u32, to: char) -> char {
    char::from_u32(c as u32 - from + to as u32).unwrap_or(c)
}

const LEADS: [char; 19] =
    ['ㄱ', 'ㄲ', 'ㄴ', 'ㄷ', 'ㄸ', 'ㄹ', 'ㅁ', 'ㅂ', 'ㅃ', 'ㅅ', 'ㅆ', 'ㅇ', 'ㅈ', 'ㅉ', 'ㅊ', 'ㅋ', 'ㅌ', 'ㅍ', 'ㅎ'];
const TAILS: [char; 27] = [
    'ㄱ', 'ㄲ', 'ㄳ', 'ㄴ', 'ㄵ', 'ㄶ', 'ㄷ', 'ㄹ', 'ㄺ', 'ㄻ', 'ㄼ', 'ㄽ', 'ㄾ', 'ㄿ', 'ㅀ', 'ㅁ', 'ㅂ', 'ㅄ', 'ㅅ', 'ㅆ',
    'ㅇ', 'ㅈ', 'ㅊ', 'ㅋ', 'ㅌ', 'ㅍ', 'ㅎ',
];

/// The keyboard letter of a half-width one.
fn half_width_jamo(c: char) -> Option<char> {
    let vowels = match c {
        '\u{ffa1}'..='\u{ffbe}' => return Some(shifted(c, 0xffa1, 'ㄱ')),
        '\u{ffc2}'..='\u{ffc7}' => 0xffc2,
        '\u{ffca}'..='\u{ffcf}' => 0xffca - 6,
        '\u{ffd2}'..='\u{ffd7}' => 0xffd2 - 12,
        '\u{ffda}'..='\u{ffdc}' => 0xffda - 18,
        _ => return None,
    };
    Some(shifted(c, vowels, 'ㅏ'))
}

/// Writes the keyboard letters in `letters` as syllables where they make some, and empties it.
pub(super) fn compose_jamo(letters: &mut Vec<char>, out: &mut String) {
    let lead = |c: char| LEADS.iter().position(|l| *l == c);
    let vowel = |c: char| matches!(c, 'ㅏ'..='ㅣ').then(|| c as usize - 'ㅏ' as usize);
    let tail = |c: char| TAILS.iter().position(|t| *t == c);
    let at = |index: usize| letters.get(index).copied().unwrap_or(' ');
    let mut i = 0;
    while i < letters.len() {
        let (Some(first), Some(second)) = (lead(at(i)), vowel(at(i + 1))) else {
            out.push(at(i));
            i += 1;
            continue;
        };
        // A consonant before a vowel opens the next syllable instead of closing this one.
        let third = if vowel(at(i + 3)).is_some() { None } else { tail(at(i + 2)) };
        let code = 0xac00 + (first * 21 + second) * 28 + third.map_or(0, |t| t + 1);
        out.extend(char::from_u32(code as u32));
        i += if third.is_some() { 3 } else { 2 };
    }
    letters.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_alike_is_spelt_alike() {
        for (from, to) in [
            ("배송이 늦어요", "배송이 늦어요"),
            ("\u{1107}\u{1162}송", "배송"),
            ("ＡＢＣ　１２３－４", "ABC 123-4"),
            ("배\u{200b}송\u{202e}지연\u{7}", "배송지연"),
            ("cafe\u{301}", "café"),
            ("𝐟𝐮𝐜𝐤", "fuck"),
            ("line\r\nnext\tcell", "line\nnext cell"),
            ("👨\u{200d}👩\u{200d}👧 ❤\u{fe0f}", "👨\u{200d}👩\u{200d}👧 ❤\u{fe0f}"),
            ("010–1234–5678", "010-1234-5678"),
            ("\u{1109}\u{1107}", "ㅅㅂ"),
        ] {
            assert_eq!(normalise(from), to, "{from:?}");
        }
    }

    #[test]
    fn half_width_letters_become_syllables() {
        // ㅅ ㅣ ㅂ ㅏ ㄹ
        assert_eq!(normalise("\u{ffb5}\u{ffdc}\u{ffb2}\u{ffc2}\u{ffa9}"), "시발");
        assert_eq!(normalise("\u{ffbb}\u{ffbb}"), "ㅋㅋ");
    }

    #[test]
    fn normal_text_is_not_copied_and_twice_is_once() {
        for text in ["hello world", "배송 언제 와요? ㅠㅠ", "再入荷はいつ", "좋아요 👍"] {
            assert!(matches!(normalise(text), Cow::Borrowed(_)), "{text}");
        }
        for text in ["\u{1107}\u{1162}송", "ＡＢ\u{200d}", "Ａ\u{301}", "\u{ffb5}\u{ffdc}"] {
            let once = normalise(text).into_owned();
            assert_eq!(normalise(&once), once);
        }
    }
}
