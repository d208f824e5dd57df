//! A mention: one post or comment, as it travels from a platform to the desk, with its verdict.
//!
//! [`Envelope`] is what the bus carries: versioned JSON (`docs/mention.schema.json`), so that a
//! company's own producer can write mentions too. [`Verdict`] is what the classifier says of one.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::clock::Time;

/// Row id of a stored mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MentionId(pub i64);

/// Row id of a contact: one author on one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContactId(pub i64);

/// How far a consumer has come in one partition of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Which log: empty for the embedded one, the topic's id for Kafka's, so that a topic made anew is not
    /// taken for the old one.
    pub log: Arc<str>,
    /// Position of the next record.
    pub next: i64,
}

/// What an envelope does to the mention it names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// The post is new, or changed.
    #[default]
    Upsert,
    /// Its author or the platform took it down: its text goes everywhere.
    Delete,
    /// Only reach and engagement are news.
    Metrics,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Somebody outside the company.
    #[default]
    Customer,
    /// One of our accounts; stops clocks and opens nothing.
    Ours,
    /// Neither: a bot, a news desk.
    Other,
}

impl Side {
    /// The word for it in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Customer => "customer",
            Side::Ours => "ours",
            Side::Other => "other",
        }
    }
}

/// How far the source's time can be trusted. SLA clocks start at `posted_at` only when it is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeQuality {
    /// To the second or better.
    Exact,
    /// Only the day is known.
    Day,
    /// The source does not say.
    #[default]
    Unknown,
}

impl TimeQuality {
    /// The word for it in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            TimeQuality::Exact => "exact",
            TimeQuality::Day => "day",
            TimeQuality::Unknown => "unknown",
        }
    }
}

/// The author of a mention, as the source knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The source's own id; never changes when the handle does.
    pub native_id: String,
    /// What people type after the @, without it.
    pub handle: String,
    /// The displayed name, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Followers or subscribers, if the source says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<u64>,
}

/// Which of our accounts or listening queries caught a mention.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// Key of the brand.
    pub brand: String,
    /// Key of the account through which it was seen.
    pub account: String,
    /// The post addresses the account; false for a keyword or hashtag hit.
    #[serde(default)]
    pub addressed: bool,
    /// The listening query or hashtag that caught it, if it was not addressed to us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

/// How often a mention was answered, passed on and liked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engagement {
    /// Answers on the platform.
    #[serde(default)]
    pub replies: u64,
    /// Reposts, boosts, shares.
    #[serde(default)]
    pub shares: u64,
    /// Likes and their kin.
    #[serde(default)]
    pub likes: u64,
}

/// One record of the `mentions` topic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Version of this format; 1.
    pub v: u8,
    /// What it does.
    #[serde(default)]
    pub op: Op,
    /// Platform and instance: `mastodon:social.example.kr`.
    pub source: String,
    /// The platform's global id; unique within `source`.
    pub native_id: String,
    /// How the platform's API calls it when one replies, where that is not `native_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_ref: Option<String>,
    /// Who speaks.
    #[serde(default)]
    pub side: Side,
    /// The source's id of the thread; the thread of `parent`, or the post itself, where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation: Option<String>,
    /// `native_id` or `local_ref` of the post that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Who wrote it; required for an upsert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Author>,
    /// Plain text, as the source gives it; nothing is masked yet.
    #[serde(default)]
    pub text: String,
    /// The source's own guess at the language (BCP 47), a hint only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lang: Option<String>,
    /// Where a person can read it; http or https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When it was posted, as far as the source says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub posted_at: Option<Time>,
    /// How far to trust `posted_at`.
    #[serde(default)]
    pub time_quality: TimeQuality,
    /// When it was last edited; the later version wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Time>,
    /// When a connector first saw it.
    pub first_seen_at: Time,
    /// Who or what caught it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matched: Vec<Match>,
    /// Public, unlisted or private, in the platform's word; a reply never widens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<String>,
    /// What the platform counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engagement: Option<Engagement>,
    /// Addresses of pictures and films; shown as links, never loaded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<String>,
    /// What its connector wants to know again when it is answered.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, String>,
}

/// The platform of a source: what stands before its colon.
pub fn platform(source: &str) -> &str {
    source.split(':').next().unwrap_or(source)
}

impl Envelope {
    /// The version of the format that this program writes and reads.
    pub const VERSION: u8 = 1;

    /// The platform: what stands before the colon of `source`.
    pub fn platform(&self) -> &str {
        platform(&self.source)
    }

    /// Which of two upserts of one mention is newer.
    pub fn version(&self) -> i64 {
        self.edited_at.or(self.posted_at).map_or(0, |at| at.0)
    }

    /// The record's key on the bus.
    pub fn key(&self) -> String {
        format!("{}/{}", self.source, self.native_id)
    }

    /// What a partition of the bus is chosen by, so that a conversation stays in order: the source with the
    /// conversation, else the parent, else how the post itself is called when it is answered.
    ///
    /// Where a platform names no conversation, an answer meets the post it answers, not the whole thread; and
    /// a record that names neither (a delete may not) can be read before the post that it is about. Both are
    /// only a matter of order: a tombstone waits for its post, and an answer for its thread.
    pub fn thread(&self) -> String {
        let named = [&self.conversation, &self.parent, &self.local_ref].into_iter().flatten().find(|name| !name.is_empty());
        format!("{}/{}", self.source, named.unwrap_or(&self.native_id))
    }

    /// Reads one record of the bus and checks what serde cannot.
    ///
    /// # Errors
    /// What is wrong with the record, in words for the dead-letter table; never its text.
    pub fn parse(bytes: &[u8]) -> Result<Envelope, String> {
        let envelope: Envelope = serde_json::from_slice(bytes).map_err(|error| {
            // serde quotes the offending value; a dead letter's reason must not carry text.
            format!("not a mention: {:?} error at line {} column {}", error.classify(), error.line(), error.column())
        })?;
        if envelope.v != Envelope::VERSION {
            return Err(format!("format version {} is not {}", envelope.v, Envelope::VERSION));
        }
        for (name, value, limit) in [("source", &envelope.source, 255), ("native_id", &envelope.native_id, 2_048)] {
            if value.is_empty() || value.len() > limit {
                return Err(format!("{name} must have 1 to {limit} bytes, it has {}", value.len()));
            }
        }
        if envelope.op == Op::Upsert && envelope.author.as_ref().is_none_or(|author| author.native_id.is_empty()) {
            return Err("an upsert needs author.native_id".into());
        }
        if envelope.text.len() > 256 * 1024 {
            return Err(format!("text has {} bytes, more than 262144", envelope.text.len()));
        }
        Ok(envelope)
    }
}

/// What the writer wants from us; `docs/labels.md` says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Label {
    /// A problem, a defect, a loss, or a demand that it be put right.
    Complaint,
    /// Wants an answer or information.
    Question,
    /// Asks for something new or different.
    Proposal,
    /// Insult, slur, threat or harassment of people is the main content.
    Abuse,
    /// Praise, thanks, chat, news, advertising, or unclear.
    Other,
}

impl Label {
    /// All labels, in the order of the pages and of the keys 1 to 5.
    pub const ALL: [Label; 5] = [Label::Complaint, Label::Question, Label::Proposal, Label::Abuse, Label::Other];

    /// The word for it in rules, JSON, URLs and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Label::Complaint => "complaint",
            Label::Question => "question",
            Label::Proposal => "proposal",
            Label::Abuse => "abuse",
            Label::Other => "other",
        }
    }

    /// The label whose word is `word`.
    pub fn parse(word: &str) -> Option<Label> {
        Label::ALL.into_iter().find(|label| label.as_str() == word)
    }
}

/// The language of a text, as far as the desk tells them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lang {
    /// Korean.
    Ko,
    /// English.
    En,
    /// Japanese.
    Ja,
    /// Chinese.
    Zh,
    /// None of them, or no words at all.
    #[default]
    Und,
}

impl Lang {
    /// All of them.
    pub const ALL: [Lang; 5] = [Lang::Ko, Lang::En, Lang::Ja, Lang::Zh, Lang::Und];

    /// BCP 47 code.
    pub fn as_str(self) -> &'static str {
        match self {
            Lang::Ko => "ko",
            Lang::En => "en",
            Lang::Ja => "ja",
            Lang::Zh => "zh",
            Lang::Und => "und",
        }
    }

    /// The language whose code is `code`.
    pub fn parse(code: &str) -> Option<Lang> {
        Lang::ALL.into_iter().find(|lang| lang.as_str() == code)
    }
}

/// One reason for a label, in words that an agent understands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// Id of the rule, or `model`.
    pub rule: String,
    /// What matched, cut to a few words; taken from the masked text.
    pub words: String,
    /// How much it weighed for `label`; negative when it spoke against it.
    pub weight: f32,
    /// The label it speaks for.
    pub label: Label,
}

/// What the classifier says of one mention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The language of the text.
    pub lang: Lang,
    /// The best label.
    pub label: Label,
    /// How sure, from 0 to 1.
    pub confidence: f32,
    /// The classifier abstains: a person sorts it, `label` is a guess.
    pub unsure: bool,
    /// Version of the model that had its say beside the rules; 0 where there was none.
    pub model: u32,
    /// Heaviest first.
    pub reasons: Vec<Reason>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Envelope, String> {
        Envelope::parse(json.as_bytes())
    }

    #[test]
    fn an_envelope_names_what_it_lacks() {
        assert!(
            parse(r#"{"v":1,"source":"x:x.com","native_id":"1","first_seen_at":5,"author":{"native_id":"7","handle":"a"}}"#)
                .is_ok()
        );
        assert_eq!(
            parse(r#"{"v":2,"source":"x","native_id":"1","first_seen_at":5}"#).unwrap_err(),
            "format version 2 is not 1"
        );
        assert_eq!(
            parse(r#"{"v":1,"source":"x","native_id":"1","first_seen_at":5}"#).unwrap_err(),
            "an upsert needs author.native_id"
        );
        assert_eq!(
            parse(r#"{"v":1,"source":"","native_id":"1","first_seen_at":5}"#).unwrap_err(),
            "source must have 1 to 255 bytes, it has 0"
        );
    }

    #[test]
    fn an_answer_is_in_the_thread_of_what_it_answers() {
        let post = |text: &str| serde_json::from_str::<Envelope>(text).unwrap().thread();
        let start = r#""v":1,"source":"x:x.com","first_seen_at":5"#;
        let root = post(&format!(r#"{{{start},"native_id":"https://x.com/1","local_ref":"1"}}"#));
        assert_eq!(root, "x:x.com/1");
        assert_eq!(post(&format!(r#"{{{start},"native_id":"https://x.com/2","local_ref":"2","parent":"1"}}"#)), root);
        assert_eq!(post(&format!(r#"{{{start},"native_id":"3"}}"#)), "x:x.com/3");
        assert_eq!(post(&format!(r#"{{{start},"native_id":"4","parent":"3"}}"#)), "x:x.com/3");
        assert_eq!(post(&format!(r#"{{{start},"native_id":"5","parent":"4","conversation":"c"}}"#)), "x:x.com/c");
        assert_eq!(post(&format!(r#"{{{start},"native_id":"6","parent":"","conversation":""}}"#)), "x:x.com/6");
    }

    #[test]
    fn a_reason_for_a_dead_letter_holds_no_text() {
        let reason = parse(r#"{"v":1,"source":"x","native_id":"1","first_seen_at":"my secret address"}"#).unwrap_err();
        assert!(!reason.contains("secret"), "{reason}");
    }

    #[test]
    fn a_delete_needs_no_author() {
        assert!(parse(r#"{"v":1,"op":"delete","source":"x","native_id":"1","first_seen_at":5}"#).is_ok());
    }
}
