//! Every word of the pages, in Korean and English: a missing translation does not compile.
//!
//! Plain words are `&'static str`, some with `{places}` that [`fill`] fills (scripts fill the same
//! patterns); what is counted or bent is a function. Handlers and templates reach them by
//! `views::Frame`.

mod en;
mod ko;

pub use self::{en::EN, ko::KO};
use crate::{
    case::{EventKind, ReplyState, Status},
    mention::Label,
    staff::Role,
};

/// A language of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Korean.
    Ko,
    /// English.
    En,
}

impl Language {
    /// Both, in the order of the switch.
    pub const ALL: [Language; 2] = [Language::Ko, Language::En];

    /// BCP 47 code, for `<html lang>` and the cookie.
    pub fn code(self) -> &'static str {
        match self {
            Language::Ko => "ko",
            Language::En => "en",
        }
    }

    /// The language whose code is `code`.
    pub fn parse(code: &str) -> Option<Language> {
        Language::ALL.into_iter().find(|language| language.code() == code)
    }

    /// Its words.
    pub fn words(self) -> &'static Words {
        match self {
            Language::Ko => &KO,
            Language::En => &EN,
        }
    }

    /// The one that `Accept-Language` likes best; English for those who read neither.
    pub fn accepted(header: &str) -> Language {
        let mut best = (Language::En, 0.0);
        for part in header.split(',') {
            let (tag, params) = part.split_once(';').unwrap_or((part, ""));
            let weight = params.trim().strip_prefix("q=").map_or(1.0, |q| q.trim().parse::<f32>().unwrap_or(0.0));
            let primary = tag.trim().split('-').next().unwrap_or_default().to_ascii_lowercase();
            if let Some(language) = Language::parse(&primary)
                && weight > best.1
            {
                best = (language, weight);
            }
        }
        best.0
    }
}

/// All words of the pages.
#[expect(missing_docs, reason = "the texts in en.rs say what each field is")]
#[derive(Debug)]
pub struct Words {
    // The frame of every page.
    pub brand: &'static str,
    pub skip: &'static str,
    pub search: &'static str,
    pub queue: &'static str,
    pub mine: &'static str,
    pub more_tab: &'static str,
    pub teams: &'static str,
    pub language: &'static str,
    pub other_language: &'static str,
    pub theme: &'static str,
    pub theme_auto: &'static str,
    pub theme_light: &'static str,
    pub theme_dark: &'static str,
    pub sign_out: &'static str,
    pub close: &'static str,
    pub keys: &'static str,
    pub new_version: &'static str,
    pub zone: &'static str,
    // States, the same everywhere.
    pub loading: &'static str,
    pub live: &'static str,
    pub late: &'static str,
    pub disconnected: &'static str,
    pub parked: &'static str,
    pub failed: &'static str,
    pub read_only: &'static str,
    pub forbidden: &'static str,
    pub forbidden_role: &'static str,
    pub not_found: &'static str,
    pub no_page: &'static str,
    pub signed_out: &'static str,
    pub stale_form: &'static str,
    pub to_queue: &'static str,
    pub go_back: &'static str,
    pub sign_in_again: &'static str,
    // Sources.
    pub sources: &'static str,
    pub src_empty: &'static str,
    pub src_up: &'static str,
    pub src_new: &'static str,
    pub src_waiting: &'static str,
    pub src_limited: &'static str,
    pub src_open: &'static str,
    pub src_stopped: &'static str,
    pub src_paused: &'static str,
    pub src_late: &'static str,
    pub src_last: &'static str,
    pub src_never: &'static str,
    pub src_goal: &'static str,
    pub src_newest: &'static str,
    pub src_next: &'static str,
    pub src_quota: &'static str,
    pub src_resets: &'static str,
    pub src_streams: &'static str,
    pub src_errors: &'static str,
    pub src_no_errors: &'static str,
    pub src_times: &'static str,
    pub src_pause: &'static str,
    pub src_resume: &'static str,
    pub src_test: &'static str,
    pub src_asked: &'static str,
    pub src_paused_by: &'static str,
    pub src_stale: &'static str,
    pub src_stale_never: &'static str,
    pub src_stale_many: &'static str,
    pub fix_wait: &'static str,
    pub fix_access: &'static str,
    pub fix_network: &'static str,
    pub fix_connector: &'static str,
    pub fix_settings: &'static str,
    pub fix_store: &'static str,
    pub listening: &'static str,
    pub lst_hint: &'static str,
    pub lst_none: &'static str,
    pub lst_name: &'static str,
    pub lst_query: &'static str,
    pub lst_try: &'static str,
    pub lst_save: &'static str,
    pub lst_remove: &'static str,
    pub lst_from_config: &'static str,
    pub lst_caught: &'static str,
    pub lst_alike: &'static str,
    pub lst_facts: &'static str,
    pub caught_by: &'static str,
    pub not_addressed: &'static str,
    pub did_src_pause: &'static str,
    pub did_src_resume: &'static str,
    pub did_src_test: &'static str,
    pub did_lst_save: &'static str,
    pub did_lst_remove: &'static str,
    // The queue.
    pub empty_queue: &'static str,
    pub empty_filtered: &'static str,
    pub empty_mine: &'static str,
    pub empty_new: &'static str,
    pub open: &'static str,
    pub overdue: &'static str,
    pub unclaimed: &'static str,
    pub next: &'static str,
    pub filters: &'static str,
    pub filter_label: &'static str,
    pub filter_lang: &'static str,
    pub filter_platform: &'static str,
    pub filter_owner: &'static str,
    pub filter_state: &'static str,
    pub filter_account: &'static str,
    pub apply: &'static str,
    pub me: &'static str,
    pub group_crisis: &'static str,
    pub group_time: &'static str,
    pub group_overdue: &'static str,
    pub pill_new: &'static str,
    pub pill_moved: &'static str,
    pub show: &'static str,
    pub more_rows: &'static str,
    pub rows_shown: &'static str,
    pub no_mention: &'static str,
    pub claimed_by: &'static str,
    pub resolved_by: &'static str,
    pub moved_to: &'static str,
    pub left_list: &'static str,
    pub notes_count: &'static str,
    pub peek: &'static str,
    pub peek_hint: &'static str,
    pub viewing: &'static str,
    pub writing: &'static str,
    // Clocks.
    pub left: &'static str,
    pub soon: &'static str,
    pub paused: &'static str,
    pub met: &'static str,
    pub met_late: &'static str,
    pub cancelled: &'static str,
    pub no_clock: &'static str,
    pub from_intake: &'static str,
    pub intake_tip: &'static str,
    pub due: &'static str,
    pub starts: &'static str,
    pub hours: &'static str,
    pub days: &'static str,
    pub first_response: &'static str,
    pub next_response: &'static str,
    pub resolution: &'static str,
    pub triage: &'static str,
    pub announce_soon: &'static str,
    pub announce_over: &'static str,
    // Labels.
    pub complaint: &'static str,
    pub question: &'static str,
    pub proposal: &'static str,
    pub abuse: &'static str,
    pub other: &'static str,
    pub unsorted: &'static str,
    pub label_spoken: &'static str,
    pub label_person: &'static str,
    pub why: &'static str,
    pub rule: &'static str,
    pub model: &'static str,
    pub unsure_why: &'static str,
    // States of a case.
    pub status_new: &'static str,
    pub status_open: &'static str,
    pub status_waiting_customer: &'static str,
    pub status_waiting_third_party: &'static str,
    pub status_resolved: &'static str,
    pub status_closed: &'static str,
    // Roles.
    pub role_marketer: &'static str,
    pub role_operator: &'static str,
    pub role_agent: &'static str,
    pub role_lead: &'static str,
    pub role_manager: &'static str,
    // What a person does.
    pub claim: &'static str,
    pub give_back: &'static str,
    pub label: &'static str,
    pub hand_over: &'static str,
    pub wait: &'static str,
    pub go_on: &'static str,
    pub whole_team: &'static str,
    pub hand_to: &'static str,
    pub reason: &'static str,
    pub reason_hint: &'static str,
    pub resolve: &'static str,
    pub disposition: &'static str,
    pub choose: &'static str,
    pub undo: &'static str,
    pub did_claim: &'static str,
    pub did_give_back: &'static str,
    pub did_label: &'static str,
    pub did_hand_over: &'static str,
    pub did_go_on: &'static str,
    pub did_reveal: &'static str,
    pub did_break: &'static str,
    pub reveal: &'static str,
    pub exposure: &'static str,
    pub pause_offer: &'static str,
    pub break_word: &'static str,
    pub break_take: &'static str,
    pub break_not: &'static str,
    pub did_resolve: &'static str,
    pub did_note: &'static str,
    pub did_answered: &'static str,
    pub did_undo: &'static str,
    pub did_reply: &'static str,
    pub did_retry: &'static str,
    pub did_send: &'static str,
    pub did_discard: &'static str,
    pub did_accept: &'static str,
    pub did_reject: &'static str,
    pub lost_claim: &'static str,
    // What the classifier learns.
    pub review: &'static str,
    pub review_hint: &'static str,
    pub review_new: &'static str,
    pub review_accepted: &'static str,
    pub review_rejected: &'static str,
    pub review_empty: &'static str,
    pub review_said: &'static str,
    pub review_answers: &'static str,
    pub review_accept: &'static str,
    pub review_reject: &'static str,
    pub review_instead: &'static str,
    pub review_accepted_as: &'static str,
    pub review_rejected_by: &'static str,
    pub review_back: &'static str,
    pub review_export: &'static str,
    // The case.
    pub case: &'static str,
    pub untitled: &'static str,
    pub owner: &'static str,
    pub back: &'static str,
    pub contact: &'static str,
    pub log: &'static str,
    pub thread: &'static str,
    pub reach: &'static str,
    pub original: &'static str,
    pub deleted: &'static str,
    pub edited: &'static str,
    pub parent: &'static str,
    pub note: &'static str,
    pub earlier_cases: &'static str,
    pub no_earlier: &'static str,
    pub similar: &'static str,
    pub no_similar: &'static str,
    pub similar_all: &'static str,
    pub new_below: &'static str,
    pub all_clocks: &'static str,
    // The composer.
    pub reply: &'static str,
    pub as_account: &'static str,
    pub reply_hint: &'static str,
    pub note_hint: &'static str,
    pub send: &'static str,
    pub add_note: &'static str,
    pub claims_too: &'static str,
    pub remaining: &'static str,
    pub too_long: &'static str,
    pub of_limit: &'static str,
    pub draft: &'static str,
    pub draft_saved: &'static str,
    pub draft_kept: &'static str,
    pub draft_other: &'static str,
    pub draft_use: &'static str,
    pub draft_keep: &'static str,
    pub not_sent: &'static str,
    pub send_anyway: &'static str,
    pub error_id: &'static str,
    pub sending_in: &'static str,
    pub cancel: &'static str,
    pub retry: &'static str,
    pub discard: &'static str,
    pub link_only: &'static str,
    pub answer_there: &'static str,
    pub answered_there: &'static str,
    pub blocked: &'static str,
    pub gone: &'static str,
    pub read_role: &'static str,
    pub reply_queued: &'static str,
    pub reply_sending: &'static str,
    pub reply_sent: &'static str,
    pub reply_failed: &'static str,
    pub reply_unknown: &'static str,
    pub reply_undone: &'static str,
    pub reply_parked: &'static str,
    // The log.
    pub ev_opened: &'static str,
    pub ev_joined: &'static str,
    pub ev_reopened: &'static str,
    pub ev_folded: &'static str,
    pub ev_noted: &'static str,
    pub ev_edited: &'static str,
    pub ev_rejudged: &'static str,
    pub ev_deleted: &'static str,
    pub ev_claimed: &'static str,
    pub ev_given_back: &'static str,
    pub ev_handed_over: &'static str,
    pub ev_labelled: &'static str,
    pub ev_note_written: &'static str,
    pub ev_reply_queued: &'static str,
    pub ev_reply_undone: &'static str,
    pub ev_reply_sent: &'static str,
    pub ev_reply_failed: &'static str,
    pub ev_reply_unknown: &'static str,
    pub ev_reply_parked: &'static str,
    pub ev_answered_there: &'static str,
    pub ev_waiting: &'static str,
    pub ev_went_on: &'static str,
    pub ev_revealed: &'static str,
    pub ev_break: &'static str,
    pub ev_resolved: &'static str,
    pub ev_warned: &'static str,
    pub ev_breached: &'static str,
    pub ev_breach_withdrawn: &'static str,
    pub ev_met: &'static str,
    pub ev_met_late: &'static str,
    pub ev_clock_cancelled: &'static str,
    // Search.
    pub search_hint: &'static str,
    pub search_empty: &'static str,
    pub search_empty_plain: &'static str,
    pub more_than: &'static str,
    pub more_hint: &'static str,
    pub behind_hint: &'static str,
    pub search_start: &'static str,
    pub search_help: &'static str,
    pub sort_best: &'static str,
    pub sort_new: &'static str,
    pub sort_old: &'static str,
    pub no_case: &'static str,
    pub like_case: &'static str,
    pub copies: &'static str,
    pub same_words: &'static str,
    pub same_matter: &'static str,
    pub seconds: &'static str,
    pub answered_in: &'static str,
    pub previous_page: &'static str,
    pub next_page: &'static str,
    pub facet_period: &'static str,
    pub facet_label: &'static str,
    pub facet_team: &'static str,
    pub facet_platform: &'static str,
    pub facet_lang: &'static str,
    pub facet_state: &'static str,
    pub facet_account: &'static str,
    pub facet_sla: &'static str,
    pub facet_disposition: &'static str,
    pub period_week: &'static str,
    pub period_month: &'static str,
    pub period_year: &'static str,
    pub help_and: &'static str,
    pub help_phrase: &'static str,
    pub help_not: &'static str,
    pub help_field: &'static str,
    pub help_or: &'static str,
    pub help_near: &'static str,
    pub help_prefix: &'static str,
    pub help_agent: &'static str,
    pub help_answered: &'static str,
    pub help_sla: &'static str,
    pub help_state: &'static str,
    pub help_reach: &'static str,
    pub help_posted: &'static str,
    pub help_lang: &'static str,
    pub saved: &'static str,
    pub saved_empty: &'static str,
    pub save: &'static str,
    pub saved_name: &'static str,
    pub saved_share: &'static str,
    pub saved_alone: &'static str,
    pub alerts: &'static str,
    pub alerts_empty: &'static str,
    pub alert_new: &'static str,
    pub alert_none: &'static str,
    pub alert_count: &'static str,
    pub alert_spike: &'static str,
    pub alert_least: &'static str,
    pub alert_times: &'static str,
    pub alert_hours: &'static str,
    pub rule_count: &'static str,
    pub rule_spike: &'static str,
    pub told_count: &'static str,
    pub told_spike: &'static str,
    pub told_first: &'static str,
    pub show_posts: &'static str,
    pub remove: &'static str,
    pub export: &'static str,
    pub exports: &'static str,
    pub exports_mine: &'static str,
    pub exports_all: &'static str,
    pub exports_empty: &'static str,
    pub export_reason: &'static str,
    pub export_note: &'static str,
    pub export_running: &'static str,
    pub export_done: &'static str,
    pub export_cancelled: &'static str,
    pub export_expired: &'static str,
    pub export_stop: &'static str,
    pub export_downloads: &'static str,
    pub insight: &'static str,
    pub rise_intro: &'static str,
    pub brand_word: &'static str,
    pub all_labels: &'static str,
    pub rise_totals: &'static str,
    pub rise_term: &'static str,
    pub rise_times: &'static str,
    pub rise_new: &'static str,
    pub rise_read: &'static str,
    pub rise_empty: &'static str,
    pub rise_summary: &'static str,
    pub rise_summary_posts: &'static str,
    pub as_table: &'static str,
    // Signing in.
    pub sign_in: &'static str,
    pub email: &'static str,
    pub password: &'static str,
    pub wrong: &'static str,
    pub locked: &'static str,
    pub link_title: &'static str,
    pub link_body: &'static str,
    pub link_go: &'static str,
    pub link_spent: &'static str,
    // Keys.
    pub key_move: &'static str,
    pub key_open: &'static str,
    pub key_menu: &'static str,
    pub key_back: &'static str,
    pub key_new: &'static str,
    pub key_list: &'static str,
    pub key_everywhere: &'static str,
    pub error_title: &'static str,
    // Counted and bent words.
    pub posts: fn(u64) -> String,
    pub cases: fn(u64) -> String,
    pub masked: fn(usize, bool) -> String,
    pub break_says: fn(u64) -> String,
    pub transfers: fn(u64) -> String,
    pub minutes_left: fn(u64) -> String,
    pub labelled_as: fn(&str) -> String,
}

impl Words {
    /// The word for a label; `None` is a case that nobody could sort.
    pub fn label(&self, label: Option<Label>) -> &'static str {
        match label {
            Some(Label::Complaint) => self.complaint,
            Some(Label::Question) => self.question,
            Some(Label::Proposal) => self.proposal,
            Some(Label::Abuse) => self.abuse,
            Some(Label::Other) => self.other,
            None => self.unsorted,
        }
    }

    /// The word for a status.
    pub fn status(&self, status: Status) -> &'static str {
        match status {
            Status::New => self.status_new,
            Status::Open => self.status_open,
            Status::WaitingCustomer => self.status_waiting_customer,
            Status::WaitingThirdParty => self.status_waiting_third_party,
            Status::Resolved => self.status_resolved,
            Status::Closed => self.status_closed,
        }
    }

    /// The word for a role.
    pub fn role(&self, role: Role) -> &'static str {
        match role {
            Role::Marketer => self.role_marketer,
            Role::Operator => self.role_operator,
            Role::Agent => self.role_agent,
            Role::Lead => self.role_lead,
            Role::Manager => self.role_manager,
        }
    }

    /// The word for where a reply stands; `{time}` is when it was sent.
    pub fn reply_state(&self, state: ReplyState) -> &'static str {
        match state {
            ReplyState::Queued => self.reply_queued,
            ReplyState::Sending => self.reply_sending,
            ReplyState::Sent => self.reply_sent,
            ReplyState::Failed => self.reply_failed,
            ReplyState::Unknown => self.reply_unknown,
            ReplyState::Undone => self.reply_undone,
            ReplyState::Parked => self.reply_parked,
        }
    }

    /// The word for what happened.
    pub fn event(&self, kind: EventKind) -> &'static str {
        match kind {
            EventKind::Opened => self.ev_opened,
            EventKind::Joined => self.ev_joined,
            EventKind::Reopened => self.ev_reopened,
            EventKind::Folded => self.ev_folded,
            EventKind::Noted => self.ev_noted,
            EventKind::Edited => self.ev_edited,
            EventKind::Rejudged => self.ev_rejudged,
            EventKind::Deleted => self.ev_deleted,
            EventKind::Claimed => self.ev_claimed,
            EventKind::GivenBack => self.ev_given_back,
            EventKind::HandedOver => self.ev_handed_over,
            EventKind::Labelled => self.ev_labelled,
            EventKind::NoteWritten => self.ev_note_written,
            EventKind::ReplyQueued => self.ev_reply_queued,
            EventKind::ReplyUndone => self.ev_reply_undone,
            EventKind::ReplySent => self.ev_reply_sent,
            EventKind::ReplyFailed => self.ev_reply_failed,
            EventKind::ReplyUnknown => self.ev_reply_unknown,
            EventKind::ReplyParked => self.ev_reply_parked,
            EventKind::AnsweredThere => self.ev_answered_there,
            EventKind::Waiting => self.ev_waiting,
            EventKind::WentOn => self.ev_went_on,
            EventKind::Revealed => self.ev_revealed,
            EventKind::Break => self.ev_break,
            EventKind::Resolved => self.ev_resolved,
            EventKind::Warned => self.ev_warned,
            EventKind::Breached => self.ev_breached,
            EventKind::BreachWithdrawn => self.ev_breach_withdrawn,
            EventKind::Met => self.ev_met,
            EventKind::MetLate => self.ev_met_late,
            EventKind::ClockCancelled => self.ev_clock_cancelled,
        }
    }
}

/// `pattern` with `{name}` replaced by its value, for each of `values`; values are never searched again.
pub fn fill(pattern: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, tail)) = after.split_once('}') else { break };
        if let Some((_, value)) = values.iter().find(|(known, _)| *known == name) {
            out.push_str(value);
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// Takes `text [button] text` apart, so that a sentence stays one string and its button a button.
pub fn parts(sentence: &'static str) -> (&'static str, &'static str, &'static str) {
    let Some((before, rest)) = sentence.split_once('[') else { return (sentence, "", "") };
    let (button, after) = rest.split_once(']').unwrap_or((rest, ""));
    (before.trim_end(), button, after)
}

/// `word` with the Korean particle that fits its last sound; `pair` is "을를", "이가", "은는", "과와" or "으로".
pub fn josa(word: &str, pair: &str) -> String {
    let last = word.chars().rev().find(|letter| letter.is_alphanumeric());
    let (closed, rieul) = last.map_or((false, false), final_sound);
    let particle = match pair {
        "으로" if closed && !rieul => "으로",
        "으로" => "로",
        _ => {
            let mut two = pair.char_indices();
            let second = two.nth(1).map_or(pair.len(), |(at, _)| at);
            if closed { &pair[..second] } else { &pair[second..] }
        }
    };
    format!("{word}{particle}")
}

/// Whether a letter, as Korean reads it, ends in a consonant, and whether that is ㄹ.
fn final_sound(letter: char) -> (bool, bool) {
    match letter {
        '가'..='힣' => {
            let coda = (u32::from(letter) - u32::from('가')) % 28;
            (coda != 0, coda == 8)
        }
        '1' | '7' | '8' | 'l' | 'L' | 'r' | 'R' => (true, true),
        '0' | '3' | '6' | 'm' | 'M' | 'n' | 'N' => (true, false),
        _ => (false, false),
    }
}

#[cfg(test)]
mod tests;
