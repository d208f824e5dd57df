//! The language of a text: by its script where that decides, by `lingua` where it does not.

use std::sync::OnceLock;

use lingua::{Language, LanguageDetector, LanguageDetectorBuilder};

use crate::mention::Lang;
use crate::text::url_at;

/// The detector; its models load at the first text that needs them.
#[derive(Default)]
pub(super) struct Languages {
    lingua: OnceLock<LanguageDetector>,
}

impl Languages {
    /// A quarter of Hangul, a syllable counted twice, makes a text Korean (product names are Latin), kana make it Japanese.
    /// Latin letters with common English words are English; Latin or Han alone is asked of lingua.
    pub(super) fn detect(&self, text: &str, hint: Option<&str>) -> Lang {
        let count = Letters::count(text);
        let hint = hint.map(|code| code.split(['-', '_']).next().unwrap_or(code));
        let all = count.hangul + count.kana + count.han + count.latin + count.foreign;
        if all == 0 {
            return Lang::Und;
        }
        // A syllable says as much as two Latin letters or more.
        let hangul = count.hangul * 2;
        if hangul * 4 >= all + count.hangul {
            return Lang::Ko;
        }
        if count.kana > 0 && (count.kana + count.han) * 4 >= all {
            return Lang::Ja;
        }
        if count.foreign * 2 > all {
            return Lang::Und;
        }
        if count.han * 2 < all && english_words(text) >= 3 {
            return Lang::En;
        }
        // lingua knows four languages only; another one that the source names is believed.
        if hint.is_some_and(|code| Lang::parse(code).is_none() && code != "und") {
            return Lang::Und;
        }
        let accented = count.accented * 20 > all;
        match self.lingua().detect_language_of(text) {
            Some(Language::Korean) => Lang::Ko,
            Some(Language::English) if accented => Lang::Und,
            Some(Language::English) => Lang::En,
            Some(Language::Japanese) => Lang::Ja,
            Some(Language::Chinese) => Lang::Zh,
            None => hint.and_then(Lang::parse).unwrap_or(Lang::Und),
        }
    }

    fn lingua(&self) -> &LanguageDetector {
        self.lingua.get_or_init(|| {
            let known = [Language::Korean, Language::English, Language::Japanese, Language::Chinese];
            LanguageDetectorBuilder::from_languages(&known).build()
        })
    }
}

/// Letters by script, outside addresses, @handles and mask tokens.
#[derive(Default)]
struct Letters {
    hangul: usize,
    kana: usize,
    han: usize,
    latin: usize,
    accented: usize,
    foreign: usize,
}

impl Letters {
    fn count(text: &str) -> Letters {
        let mut letters = Letters::default();
        let mut skip_to = 0;
        for (at, c) in text.char_indices() {
            if at < skip_to {
                continue;
            }
            match c {
                'h' | 'H' => match url_at(&text[at..]) {
                    Some(length) => skip_to = at + length,
                    None => letters.latin += 1,
                },
                '@' | '[' => {
                    let name = text[at + 1..].bytes().take_while(|b| b.is_ascii_alphanumeric() || b"_.@".contains(b)).count();
                    let token = c == '@' || text[at + 1 + name..].starts_with(']');
                    skip_to = if token { at + 1 + name } else { at };
                }
                'a'..='z' | 'A'..='Z' => letters.latin += 1,
                '가'..='힣' | 'ㄱ'..='ㅣ' => letters.hangul += 1,
                '\u{3041}'..='\u{30ff}' => letters.kana += 1,
                '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' => letters.han += 1,
                '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => {
                    letters.latin += 1;
                    letters.accented += 1;
                }
                _ if c.is_alphabetic() => letters.foreign += 1,
                _ => {}
            }
        }
        letters
    }
}

/// How many common English words there are, up to three.
fn english_words(text: &str) -> usize {
    let common = |word: &&str| {
        let mut lower = [0_u8; 7];
        let Some(buffer) = lower.get_mut(..word.len()) else { return false };
        buffer.copy_from_slice(word.as_bytes());
        buffer.make_ascii_lowercase();
        COMMON.contains(&&*buffer)
    };
    text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty()).filter(common).take(3).count()
}

/// Words that English uses all the time and its neighbours do not.
const COMMON: [&[u8]; 58] = [
    b"the", b"and", b"you", b"is", b"it", b"to", b"of", b"my", b"your", b"this", b"that", b"for", b"with", b"not", b"are",
    b"was", b"have", b"has", b"but", b"can", b"what", b"when", b"how", b"why", b"they", b"from", b"i", b"we", b"be", b"at",
    b"or", b"if", b"still", b"been", b"will", b"would", b"please", b"get", b"got", b"just", b"there", b"does", b"did",
    b"after", b"out", b"all", b"never", b"no", b"so", b"it", b"me", b"our", b"its", b"too", b"very", b"any", b"thanks",
    b"than",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_decides_before_statistics() {
        let languages = Languages::default();
        for (text, hint, expected) in [
            ("배송 언제 와요?", None, Lang::Ko),
            ("iPhone 15 Pro 케이스 재입고 언제 되나요", None, Lang::Ko),
            ("DaonPay 결제 error code 503 뜸", None, Lang::Ko),
            ("ㅋㅋㅋ", None, Lang::Ko),
            ("商品はまだ届きません", None, Lang::Ja),
            ("我的包裹还没有到，客服也不回复", None, Lang::Zh),
            ("My order is late and nobody answers the phone", None, Lang::En),
            ("refund refused, awful service", None, Lang::En),
            ("@shop_kr https://example.com/the/and/of/my [phone] 환불", None, Lang::Ko),
            ("¿Dónde está mi pedido? Llegó dañado", Some("es"), Lang::Und),
            ("Wo ist mein Paket", Some("de-DE"), Lang::Und),
            ("Где мой заказ", None, Lang::Und),
            ("12345 !!! 👍", Some("ko"), Lang::Und),
            ("", None, Lang::Und),
        ] {
            assert_eq!(languages.detect(text, hint), expected, "{text}");
        }
    }
}
