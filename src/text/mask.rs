//! Takes telephone, resident registration, card and account numbers and e-mail addresses out of a text.
//!
//! No regular expressions: numbers are read as runs of digit groups, and a group's neighbours decide.
//! Hangul never counts as part of a number, so `전화010-1234-5678로` is masked; Latin letters do, so
//! that the order number `BT180773129` is not.

use std::borrow::Cow;

/// Groups of digits that Korean banks write, for accounts that no word announces.
const ACCOUNT_SHAPES: [&[usize]; 12] = [
    &[3, 3, 6],
    &[6, 2, 6],
    &[4, 3, 6],
    &[3, 6, 5],
    &[3, 4, 4, 2],
    &[4, 2, 7],
    &[3, 2, 6],
    &[3, 2, 6, 1],
    &[3, 2, 6, 3],
    &[3, 2, 4, 3],
    &[3, 6, 2, 3],
    &[6, 2, 5],
];

const ACCOUNT_WORDS: [&str; 14] =
    ["계좌", "은행", "뱅크", "입금", "송금", "이체", "농협", "신협", "수협", "새마을", "우체국", "account", "acct", "bank"];
const CARD_WORDS: [&str; 3] = ["카드", "card", "visa"];
const PERSON_WORDS: [&str; 3] = ["주민", "외국인등록", "resident"];
const PHONE_WORDS: [&str; 8] = ["전화", "연락", "폰", "tel", "phone", "call", "hp", "mobile"];
const ORDER_WORDS: [&str; 14] = [
    "주문",
    "송장",
    "접수",
    "예약",
    "상품번호",
    "문의번호",
    "거래번호",
    "시리얼",
    "order",
    "tracking",
    "invoice",
    "ticket",
    "booking",
    "serial",
];

/// How many bytes before a number may announce what it is.
const LOOK_BACK: usize = 40;

/// Replaces personal numbers and addresses in normalised `text` by `[phone]`, `[id]`, `[card]`,
/// `[account]` and `[email]`. Text without any is not copied.
pub fn mask(text: &str) -> Cow<'_, str> {
    if !suspicious(text.as_bytes()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    let mut groups = Vec::new();
    while let Some(step) = text.as_bytes()[at..].iter().position(|b| b.is_ascii_digit() || *b == b'@') {
        at += step;
        let found = if text.as_bytes()[at] == b'@' {
            let email = email_around(text, copied, at);
            at += 1;
            email.into_iter().collect()
        } else {
            let end = read_groups(text.as_bytes(), at, &mut groups);
            at = end;
            numbers_in(text, &groups)
        };
        for Found { start, end, token } in found {
            if start >= copied {
                out.push_str(&text[copied..start]);
                out.push_str(token);
                copied = end;
                at = at.max(end);
            }
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

struct Found {
    start: usize,
    end: usize,
    token: &'static str,
}

/// An `@`, or six digits with nothing but separators between them.
fn suspicious(bytes: &[u8]) -> bool {
    let (mut digits, mut gap) = (0, 0);
    for b in bytes {
        match b {
            b'@' => return true,
            b'0'..=b'9' => {
                digits += 1;
                gap = 0;
                if digits >= 6 {
                    return true;
                }
            }
            b' ' | b'-' | b'.' | b'(' | b')' | b'/' if gap < 3 => gap += 1,
            _ => digits = 0,
        }
    }
    false
}

/// Digits between separators.
#[derive(Clone, Copy)]
struct Group {
    start: usize,
    end: usize,
    /// Only a space, or nothing, stands before it: a number may begin here.
    free: bool,
}

/// Reads the run of digit groups that starts at `at` and returns its end.
fn read_groups(bytes: &[u8], mut at: usize, groups: &mut Vec<Group>) -> usize {
    groups.clear();
    let mut free = true;
    loop {
        let start = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        groups.push(Group { start, end: at, free });
        let gap = bytes[at..].iter().take(4).take_while(|b| matches!(b, b' ' | b'-' | b'.' | b'(' | b')' | b'/')).count();
        if gap > 3 || !bytes.get(at + gap).is_some_and(u8::is_ascii_digit) {
            return at;
        }
        let between = &bytes[at..at + gap];
        free = !between.iter().any(|b| matches!(b, b'-' | b'.' | b'/' | b')'));
        at += gap;
    }
}

/// The personal numbers among the groups of one run, each as long as it can be.
fn numbers_in(text: &str, groups: &[Group]) -> Vec<Found> {
    let mut found = Vec::new();
    let mut first = 0;
    while first < groups.len() {
        let longest = (first + 6).min(groups.len());
        let hit = (first + 1..=longest).rev().filter(|_| groups[first].free).find_map(|end| {
            // A group that hangs on by a hyphen belongs to the number: it is longer than we think.
            let ends = groups.get(end).is_none_or(|next| next.free);
            if ends { judge(text, &groups[first..end]).map(|hit| (end, hit)) } else { None }
        });
        match hit {
            Some((end, hit)) => {
                found.push(hit);
                first = end;
            }
            None => first += 1,
        }
    }
    found
}

/// What the digits of `groups` are, if they are anybody's business.
fn judge(text: &str, groups: &[Group]) -> Option<Found> {
    let (first, last) = (groups.first()?, groups.last()?);
    let bytes = text.as_bytes();
    let digits: Vec<u8> = groups.iter().flat_map(|g| &bytes[g.start..g.end]).map(|b| b - b'0').collect();
    if !(7..=20).contains(&digits.len()) {
        return None;
    }
    let shape: Vec<usize> = groups.iter().map(|g| g.end - g.start).collect();
    let hyphens = groups.windows(2).all(|pair| bytes[pair[0].end..pair[1].start].contains(&b'-'));
    let glued = first.start > 0 && bytes[first.start - 1].is_ascii_alphanumeric();
    let prefix = |byte: u8| first.start > 0 && bytes[first.start - 1] == byte;
    let context = Context::before(text, first.start);
    let open = prefix(b'+') || prefix(b'(');
    let mut start = first.start - usize::from(open);
    if prefix(b'(') && start > 0 && bytes[start - 1] == b'+' {
        start -= 1;
    }
    let hit = |token| Some(Found { start, end: last.end, token });

    if resident(&digits, &shape, context) && !(glued && shape.len() == 1) {
        return hit("[id]");
    }
    if shape == [6, 1] && date_of_birth(&digits) && bytes[last.end..].iter().take_while(|b| **b == b'*').count() >= 4 {
        let stars = bytes[last.end..].iter().take_while(|b| **b == b'*').count();
        return Some(Found { start, end: last.end + stars, token: "[id]" });
    }
    let announced = context.is(&PHONE_WORDS);
    if phone(&digits, &shape, prefix(b'+')) && (!glued || shape.len() > 1 || announced) {
        return hit("[phone]");
    }
    if glued || (context.is(&ORDER_WORDS) && !prefix(b'+')) {
        return None;
    }
    if card(&digits, &shape, context.is(&CARD_WORDS)) {
        return hit("[card]");
    }
    let account = (10..=16).contains(&digits.len());
    let shaped = hyphens && shape.len() > 1 && ACCOUNT_SHAPES.contains(&shape.as_slice());
    if account && (shaped || (context.is(&ACCOUNT_WORDS) && !dated(&digits, &shape))) {
        return hit("[account]");
    }
    None
}

/// The words shortly before a number; the nearest kind of word wins.
#[derive(Clone, Copy)]
struct Context<'a> {
    before: &'a str,
}

impl<'a> Context<'a> {
    fn before(text: &'a str, at: usize) -> Context<'a> {
        let mut from = at.saturating_sub(LOOK_BACK);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        Context { before: &text[from..at] }
    }

    fn last(&self, words: &[&str]) -> Option<usize> {
        let lower = self.before.to_ascii_lowercase();
        words.iter().filter_map(|word| lower.rfind(word)).max()
    }

    fn is(&self, words: &[&str]) -> bool {
        let Some(here) = self.last(words) else { return false };
        let others: [&[&str]; 5] = [&ACCOUNT_WORDS, &CARD_WORDS, &PERSON_WORDS, &PHONE_WORDS, &ORDER_WORDS];
        others.iter().filter(|other| !std::ptr::eq(other.as_ptr(), words.as_ptr())).all(|other| self.last(other) <= Some(here))
    }
}

fn date_of_birth(digits: &[u8]) -> bool {
    let pair = |at: usize| digits[at] * 10 + digits[at + 1];
    digits.len() >= 7 && (1..=12).contains(&pair(2)) && (1..=31).contains(&pair(4)) && (1..=8).contains(&digits[6])
}

/// A resident registration number. Written without its hyphen it must prove itself: thirteen digits are
/// a barcode or an order number as often.
fn resident(digits: &[u8], shape: &[usize], context: Context<'_>) -> bool {
    if digits.len() != 13 || !date_of_birth(digits) {
        return false;
    }
    if shape == [6, 7] {
        return true;
    }
    let weights = [2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5];
    let sum: u32 = digits.iter().zip(weights).map(|(digit, weight)| u32::from(*digit) * weight).sum();
    // Numbers given out since October 2020 have no check digit.
    let newborn = digits[0] >= 2 && matches!(digits[6], 3 | 4 | 7 | 8);
    shape == [13] && ((11 - sum % 11) % 10 == u32::from(digits[12]) || newborn || context.is(&PERSON_WORDS))
}

fn phone(digits: &[u8], shape: &[usize], plus: bool) -> bool {
    if plus || digits.starts_with(&[8, 2, 1, 0]) || digits.starts_with(&[0, 0, 8, 2]) {
        let rest = digits.strip_prefix(&[0, 0]).unwrap_or(digits);
        return match rest.strip_prefix(&[8, 2]) {
            Some(national) => {
                let national = national.strip_prefix(&[0]).unwrap_or(national);
                domestic(&[&[0], national].concat())
            }
            None => (8..=15).contains(&digits.len()),
        };
    }
    let parts = match shape {
        [_] => true,
        [area, rest] => matches!((area, rest), (2..=4, 7..=8) | (6..=7, 4)),
        [area, middle, end] => (2..=4).contains(area) && (3..=4).contains(middle) && *end == 4,
        _ => false,
    };
    let american = shape == [3, 3, 4] && digits[0] >= 2 && digits[3] >= 2;
    (parts && domestic(digits)) || american
}

/// A Korean number with its leading zero. Toll-free and 1588 numbers are nobody's secret.
fn domestic(digits: &[u8]) -> bool {
    match digits {
        [0, 1, 0 | 1 | 6..=9, rest @ ..] => matches!(rest.len(), 7 | 8),
        [0, 2, rest @ ..] => matches!(rest.len(), 7 | 8) && rest[0] >= 2,
        [0, 3..=6, 1..=5, rest @ ..] => matches!(rest.len(), 7 | 8) && rest[0] >= 2,
        [0, 7, 0, rest @ ..] => rest.len() == 8,
        [0, 5, 0, _, rest @ ..] => matches!(rest.len(), 7 | 8),
        _ => false,
    }
}

fn card(digits: &[u8], shape: &[usize], announced: bool) -> bool {
    let brand = match digits {
        [3, 4 | 7, ..] => digits.len() == 15,
        [3, 6 | 8, ..] => digits.len() == 14,
        [4 | 6 | 9, ..] | [5, 1..=5, ..] | [3, 5, ..] | [2, 2..=7, ..] => digits.len() == 16,
        _ => false,
    };
    let parts = matches!(shape, [_] | [4, 4, 4, 4] | [4, 6, 4 | 5]);
    let doubled = digits.iter().rev().enumerate().map(|(i, digit)| match (i % 2, u32::from(*digit) * 2) {
        (0, double) => double / 2,
        (_, double) => double / 10 + double % 10,
    });
    brand && parts && (doubled.sum::<u32>() % 10 == 0 || announced)
}

/// Begins like a date, so it is one, or a number made of one.
fn dated(digits: &[u8], shape: &[usize]) -> bool {
    let pair = |at: usize| digits[at] * 10 + digits[at + 1];
    digits.starts_with(&[2, 0])
        && matches!(shape, [4, 2, ..] | [8, ..])
        && (1..=12).contains(&pair(4))
        && (1..=31).contains(&pair(6))
}

/// The address around the `@` at `at`; `@user@domain` is a handle, not an address.
fn email_around(text: &str, from: usize, at: usize) -> Option<Found> {
    let bytes = text.as_bytes();
    let local = bytes[from..at].iter().rev().take_while(|b| b.is_ascii_alphanumeric() || b"._%+-".contains(b)).count();
    let domain = bytes[at + 1..].iter().take_while(|b| b.is_ascii_alphanumeric() || b".-".contains(b)).count();
    let domain = text[at + 1..at + 1 + domain].trim_end_matches(['.', '-']);
    let (_, top) = domain.rsplit_once('.')?;
    let start = at - local;
    let handle = start > 0 && bytes[start - 1] == b'@';
    let address = local > 0 && !handle && top.len() >= 2 && top.bytes().all(|b| b.is_ascii_alphabetic());
    address.then_some(Found { start, end: at + 1 + domain.len(), token: "[email]" })
}

#[cfg(test)]
mod tests;
