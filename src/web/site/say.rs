//! What only handlers say: refused commands and queries that cannot be run, in both languages.

use crate::{
    query::{self, Kind},
    web::words::{Language, josa},
};

/// Korean and English of one text.
fn pick(language: Language, ko: String, en: String) -> String {
    match language {
        Language::Ko => ko,
        Language::En => en,
    }
}

/// A colleague has just answered the same post.
pub(super) fn answered(language: Language, initials: &str) -> String {
    pick(
        language,
        format!("{initials} 님이 방금 이 글에 답했어요. 그 답글을 읽고, 그래도 필요하면 다시 보내세요."),
        format!("{initials} answered this post a moment ago. Read that reply; if yours is still needed, send it all the same."),
    )
}

/// The command came too late.
pub(super) fn too_late(language: Language) -> String {
    pick(
        language,
        "이미 지나서 할 수 없어요. 지금 상태를 확인하세요.".into(),
        "It is too late for that. Look at the case as it is now.".into(),
    )
}

/// A text, reason or choice is missing.
pub(super) fn empty(language: Language) -> String {
    pick(language, "비어 있어요. 내용을 쓰고 다시 해 보세요.".into(), "It is empty. Write something and try again.".into())
}

/// What was sent cannot be read.
pub(super) fn unread(language: Language) -> String {
    pick(
        language,
        "보낸 내용을 읽지 못했어요. 저장한 것은 없어요. 숫자 칸과 주소를 확인하고 다시 해 보세요.".into(),
        "What was sent could not be read, and nothing was stored. Check numbers and the address, then try again.".into(),
    )
}

/// It is more than is read at once.
pub(super) fn too_much(language: Language) -> String {
    pick(
        language,
        "한 번에 보낼 수 있는 것보다 길어요. 저장한 것은 없어요. 줄여서 다시 해 보세요.".into(),
        "That is more than can be sent at once, and nothing was stored. Shorten it and try again.".into(),
    )
}

/// A name or value that the desk does not know.
pub(super) fn unknown(language: Language, name: &str) -> String {
    pick(
        language,
        format!("{} 모르는 값이에요. 다시 고르세요.", josa(&format!("‘{name}’"), "은는")),
        format!("'{name}' is not known. Choose again."),
    )
}

/// Nothing is left to claim.
pub(super) fn none_left(language: Language) -> String {
    pick(language, "담당 없는 사건이 없어요.".into(), "No case is unclaimed.".into())
}

/// What is wrong with a query, and where.
pub(super) fn query(language: Language, error: &query::Error) -> String {
    if language == Language::En {
        let text = error.to_string();
        let mut letters = text.chars();
        return letters.next().map(|first| first.to_uppercase().chain(letters).chain(['.']).collect()).unwrap_or_default();
    }
    let at = error.at;
    match &error.kind {
        Kind::TooLong => format!("검색어가 {}자보다 길어요. 줄여 보세요.", query::MAX_CHARS),
        Kind::TooManyTerms => format!("낱말이 {}개보다 많아요({at}번째 글자부터). 줄여 보세요.", query::MAX_TERMS),
        Kind::TooDeep => format!("{at}번째 글자에서 괄호가 너무 깊어요. 단순하게 써 보세요."),
        Kind::QuoteNotClosed => format!("{at}번째 글자에서 연 따옴표를 닫으세요."),
        Kind::ParenthesisNotClosed => format!("{at}번째 글자에서 연 괄호를 닫으세요."),
        Kind::ParenthesisNotOpened => format!("{at}번째 글자의 닫는 괄호는 짝이 없어요. 지우세요."),
        Kind::EmptyParentheses => format!("{at}번째 글자의 괄호가 비어 있어요. 낱말을 넣으세요."),
        Kind::OrLacksSide => format!("{at}번째 글자의 OR 양쪽에 낱말을 쓰세요."),
        Kind::UnknownField(name) => format!("‘{name}’ 항목은 없어요({at}번째 글자)."),
        Kind::BadValue { field, takes } => format!("{at}번째 글자의 {field}에는 {} 쓰세요.", takes_ko(field, takes)),
    }
}

/// What a field takes, with the particle that follows it.
fn takes_ko(field: &str, takes: &str) -> String {
    match field {
        "label" => "complaint, question, proposal, abuse, other, unsorted 중 하나를".into(),
        "lang" => "ko, en, ja, zh, und 중 하나를".into(),
        "status" => "new, open, waiting_customer, waiting_third_party, resolved, closed 중 하나를".into(),
        "sla" => "breached나 met을".into(),
        "has" => "reply, note, media 중 하나를".into(),
        "incident" => "사태 번호를".into(),
        "reach" => "숫자, >1000, <1000이나 1000..5000을".into(),
        "posted" => "날짜(2026-11-01), 시각(2026-11-01T14), >날짜, <날짜나 날짜..날짜를".into(),
        "answered" => "<12m, >1h나 12m..1h를".into(),
        "team" | "platform" | "account" | "author" | "agent" | "disposition" => "이름을".into(),
        _ => takes.into(),
    }
}
