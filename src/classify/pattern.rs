//! Rewrites a rule's pattern so that it is fast and fits Korean.
//!
//! Unicode `\b` sends every Korean text to the regex engine's slow path, and never lies between Hangul
//! and a digit. So `\b \w \d \s` mean their ASCII selves here, and matching ignores case by reading
//! lower-cased text with lower-cased patterns.

use std::iter::Peekable;
use std::str::Chars;

/// Longest pattern that is accepted, in bytes.
const MAX_BYTES: usize = 2_000;
/// Largest compiled pattern that is accepted, in bytes.
const MAX_COMPILED: usize = 512 * 1024;

/// The pattern as it is compiled.
pub(super) fn rewrite(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars().peekable();
    let mut depth = 0_u32;
    while let Some(c) = chars.next() {
        match c {
            '\\' => rewrite_escape(&mut chars, depth > 0, &mut out),
            '[' => {
                depth += 1;
                out.push(c);
                // A bracket first in a class, or after its ^, is a plain character.
                if chars.peek() == Some(&'^') {
                    out.extend(chars.next());
                }
                if chars.peek() == Some(&']') {
                    out.extend(chars.next());
                }
            }
            ']' => {
                depth = depth.saturating_sub(1);
                out.push(c);
            }
            // Flags and group names keep their case.
            '(' if depth == 0 && chars.peek() == Some(&'?') => {
                out.push(c);
                for flag in chars.by_ref() {
                    out.push(flag);
                    if matches!(flag, ':' | ')' | '>') {
                        break;
                    }
                }
            }
            _ => out.push(c.to_ascii_lowercase()),
        }
    }
    out
}

fn rewrite_escape(chars: &mut Peekable<Chars<'_>>, in_class: bool, out: &mut String) {
    let ascii = match (chars.peek(), in_class) {
        (Some('b'), false) => r"(?-u:\b)",
        (Some('w'), false) => "[0-9a-z_]",
        (Some('w'), true) => "0-9a-z_",
        (Some('W'), _) => "[^0-9a-z_]",
        (Some('d'), false) => "[0-9]",
        (Some('d'), true) => "0-9",
        (Some('D'), _) => "[^0-9]",
        (Some('s'), false) => r"[ \t\n]",
        (Some('s'), true) => r" \t\n",
        (Some('S'), _) => r"[^ \t\n]",
        _ => "",
    };
    if !ascii.is_empty() {
        chars.next();
        out.push_str(ascii);
        return;
    }
    out.push('\\');
    let Some(escaped) = chars.next() else { return };
    out.push(escaped);
    if matches!(escaped, 'p' | 'P' | 'x' | 'u' | 'U') && chars.peek() == Some(&'{') {
        for c in chars.by_ref() {
            out.push(c);
            if c == '}' {
                break;
            }
        }
    } else if matches!(escaped, 'p' | 'P') {
        out.extend(chars.next());
    }
}

/// A pattern that finds `literals` as they stand; at a Latin letter or digit it wants a word's edge.
pub(super) fn any_of(literals: &[String]) -> String {
    let edge = |c: Option<char>| if c.is_some_and(|c| c.is_ascii_alphanumeric()) { r"(?-u:\b)" } else { "" };
    let one = |literal: &String| {
        let lower = literal.to_ascii_lowercase();
        format!("{}{}{}", edge(lower.chars().next()), regex::escape(&lower), edge(lower.chars().next_back()))
    };
    literals.iter().map(one).collect::<Vec<_>>().join("|")
}

/// Compiles a rewritten pattern within the limits; what is wrong with it, otherwise.
pub(super) fn compile(pattern: &str) -> Result<regex::Regex, String> {
    if pattern.len() > MAX_BYTES {
        return Err(format!("the pattern has {} bytes, more than {MAX_BYTES}", pattern.len()));
    }
    regex::RegexBuilder::new(pattern).size_limit(MAX_COMPILED).nest_limit(50).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => format!("the pattern grows over {MAX_COMPILED} bytes when compiled"),
        other => {
            let text = other.to_string();
            let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(&text);
            format!("the pattern does not compile: {}", last.trim().trim_start_matches("error: "))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_ascii_and_case_is_ignored() {
        for (pattern, expected) in [
            (r"\bApp\b", r"(?-u:\b)app(?-u:\b)"),
            (r"\w+\W\d\D\s\S", r"[0-9a-z_]+[^0-9a-z_][0-9][^0-9][ \t\n][^ \t\n]"),
            (r"[\w가-힣][^\d\s]", r"[0-9a-z_가-힣][^0-9 \t\n]"),
            (r"[\W\d]", r"[[^0-9a-z_]0-9]"),
            (r"\\b \[\d\]", r"\\b \[[0-9]\]"),
            (r"[]\w]x[^]]", r"[]0-9a-z_]x[^]]"),
            (r"\p{Hangul}\pL\x{1F600}B", r"\p{Hangul}\pL\x{1F600}b"),
            (r"(?P<Name>A)(?:B)(?s:.)", r"(?P<Name>a)(?:b)(?s:.)"),
            (r"[\]\w]A", r"[\]0-9a-z_]a"),
            ("\\", "\\"),
        ] {
            assert_eq!(rewrite(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn a_latin_word_has_edges_beside_hangul() {
        let number = compile(&rewrite(r"\bBT\d{6,10}\b")).unwrap();
        assert!(number.is_match("주문번호bt180773129로"));
        let words = compile(&any_of(&["app".into(), "환불".into(), "c++".into()])).unwrap();
        for (text, expected) in [("app이", true), ("happy", false), ("환불은", true), ("c++ 책", true), ("apple", false)] {
            assert_eq!(words.is_match(text), expected, "{text}");
        }
    }

    #[test]
    fn patterns_that_explode_are_refused_and_the_rest_is_linear() {
        for pattern in [
            r"\w{1000}{1000}".to_owned(),
            "a|".repeat(100_000),
            "(".into(),
            "[".repeat(500),
            r"(?=a)".into(),
            "(a{500}){500}".into(),
        ] {
            let problem = compile(&rewrite(&pattern)).unwrap_err();
            assert!(problem.starts_with("the pattern") && problem.len() < 200, "{problem}");
        }
        for pattern in ["(a+)+$", "(.*){20}"] {
            compile(&rewrite(pattern)).unwrap().is_match(&"a".repeat(10_000));
        }
    }
}
