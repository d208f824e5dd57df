//! `[[error]]`: what to do about an answer that is no success.

use serde::{Deserialize, Deserializer, de};
use serde_json::Value as Json;

use super::Path;

/// Status codes: `"404"` or a class, `"5xx"`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statuses(Vec<String>);

impl Statuses {
    /// Whether an answer has one of them and, where `place` is given, a value there.
    pub fn fit(&self, place: Option<&Path>, status: u16, body: &Json) -> bool {
        self.has(status) && place.is_none_or(|place| place.first(body).is_some())
    }

    /// Whether `status` is among them.
    pub fn has(&self, status: u16) -> bool {
        let text = status.to_string();
        self.0.iter().any(|one| *one == text || one.strip_suffix("xx").is_some_and(|class| text.starts_with(class)))
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = Vec::<String>::deserialize(deserializer)?;
        for one in &list {
            let digits = one.strip_suffix("xx").unwrap_or(one);
            let whole = if one.ends_with("xx") { 1 } else { 3 };
            if digits.len() != whole || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(de::Error::custom(format!("`{one}` is not a status like \"404\" or \"5xx\"")));
            }
        }
        Ok(Statuses(list))
    }
}

/// What to do about an answer that is no success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Do {
    /// Wait as long as the platform says, else longer each time.
    BackOff,
    /// Try again soon, later each time.
    Retry,
    /// Only a person can help: say so, and look again in a quarter of an hour.
    Stop,
    /// There is nothing to see: as if the page were empty.
    Skip,
    /// Get a new token, or read the secrets again from where they come from, then retry.
    Refresh,
    /// The post or thread is deleted.
    Gone,
}

/// One row of the error table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorRow {
    /// The status codes that it is about.
    pub status: Statuses,
    /// And only if the answer has a value here.
    pub body: Option<Path>,
    /// What to do.
    #[serde(rename = "do")]
    pub action: Do,
}

impl ErrorRow {
    /// Whether it is about this answer.
    pub fn fits(&self, status: u16, body: &Json) -> bool {
        self.status.fit(self.body.as_ref(), status, body)
    }
}

/// The answer that says that the cursor is older than the platform remembers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CursorLost {
    /// Its status.
    pub status: Statuses,
    /// And only if the answer has a value here.
    pub body: Option<Path>,
}

impl CursorLost {
    /// Whether this answer is the one.
    pub fn fits(&self, status: u16, body: &Json) -> bool {
        self.status.fit(self.body.as_ref(), status, body)
    }
}
