//! Plays a script of posts over time: `posts.jsonl`, one thing that happens a line.

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde::Deserialize;

use super::{Post, Sample};

/// One line of a script. What a line has besides is for its readers.
#[derive(Clone, Debug, Deserialize)]
pub struct Line {
    /// Seconds after the start.
    pub at: f64,
    /// `post`, `edit` or `delete`.
    #[serde(default = "post")]
    pub op: String,
    /// The script's own name for the post.
    pub id: String,
    /// Its author's handle.
    #[serde(default)]
    pub author: String,
    /// Its author's displayed name.
    pub name: Option<String>,
    /// Its author's followers.
    pub reach: Option<u64>,
    /// The handle that it addresses: "@to " comes before the text.
    pub to: Option<String>,
    /// The script's name of the post that it answers.
    pub reply_to: Option<String>,
    /// Seconds by which the post is older than its appearance.
    #[serde(default)]
    pub age: f64,
    /// Its language.
    pub lang: Option<String>,
    /// Its text.
    #[serde(default)]
    pub text: String,
}

fn post() -> String {
    "post".into()
}

/// Reads a script.
///
/// # Errors
/// When it cannot be read, or a line is no such line; the error names it.
fn read(path: &Path) -> std::io::Result<Vec<Line>> {
    let text = std::fs::read_to_string(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let mut script: Vec<Line> = lines
        .map(|(number, line)| {
            serde_json::from_str(line)
                .map_err(|error| std::io::Error::other(format!("{}:{}: {error}", path.display(), number + 1)))
        })
        .collect::<Result<_, _>>()?;
    script.sort_by(|a, b| a.at.total_cmp(&b.at));
    Ok(script)
}

impl Sample {
    /// Plays the script at `path`, `speed` times as fast as it says; returns how many lines it had.
    ///
    /// # Errors
    /// When the script cannot be read, before anything is posted.
    pub async fn play(&self, path: &Path, speed: f64) -> std::io::Result<usize> {
        let script = read(path)?;
        let clock = self.shared.clock.clone();
        let start = clock.now();
        let mut ids: BTreeMap<&str, String> = BTreeMap::new();
        for line in &script {
            let after = Duration::try_from_secs_f64(line.at / speed.max(0.001)).unwrap_or_default();
            clock.sleep_until(start.plus(after)).await;
            match (line.op.as_str(), ids.get(line.id.as_str())) {
                ("post", _) => {
                    let id = self.appear(line, line.reply_to.as_ref().and_then(|parent| ids.get(parent.as_str())));
                    ids.insert(&line.id, id);
                }
                ("edit", Some(id)) => drop(self.edit(id, &line.text)),
                ("delete", Some(id)) => drop(self.delete(id)),
                (op, _) => tracing::warn!("script line `{}`: nothing to {op}", line.id),
            }
        }
        Ok(script.len())
    }

    fn appear(&self, line: &Line, parent: Option<&String>) -> String {
        let mut state = self.shared.state();
        let now = self.shared.clock.now();
        let author = state.account(&line.author, line.name.as_deref(), line.reach);
        let text = line.to.as_ref().map_or(line.text.clone(), |to| format!("@{to} {}", line.text));
        let age = Duration::try_from_secs_f64(line.age).unwrap_or_default();
        let post = Post {
            text,
            in_reply_to: parent.cloned(),
            created_at: now.minus(age),
            lang: line.lang.clone(),
            ..Post::by(author)
        };
        state.add(now, post)
    }
}
