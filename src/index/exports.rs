//! Reads the posts of an export, part by part; a restart or another node goes on with the next part.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::json;
use tokio::sync::watch;

use super::{Error, brand_number, scope_of};
use crate::{
    case::{CaseId, ReplyState},
    clock::{Clock, Time},
    mention::{MentionId, platform},
    queue::{self, Export, ExportPart, PostRow, Reader, Store, Urgency},
    search::Scope,
    staff::AgentId,
};

/// How often new exports are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How often old exports are looked for.
const SWEEP: Duration = Duration::from_secs(600);
/// How long an export can be downloaded.
const KEPT: Duration = Duration::from_secs(86_400);

/// What ended before this is taken away.
pub(super) fn too_old(now: Time) -> Time {
    now.minus(KEPT)
}

/// Does what exports ask for.
pub struct Exporter {
    /// Where exports and posts are.
    pub store: Arc<Store>,
    /// Decides when an export is too old.
    pub clock: Clock,
    /// What is abuse is told of, not exported.
    pub mask_abuse: bool,
}

impl Exporter {
    /// Works until `stop` turns true; a part that is not finished is read again.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut sweep = self.clock.now();
        while !*stop.borrow_and_update() {
            match self.step().await {
                Ok(true) => continue,
                Ok(false) if self.clock.now() >= sweep => {
                    let before = too_old(self.clock.now());
                    let swept: Result<usize, queue::Error> =
                        self.store.write(Urgency::Batch, move |tx| tx.expire_exports(before, &[])).await;
                    if let Err(error) = swept {
                        tracing::warn!(error = &error as &dyn std::error::Error, "old exports are still there");
                    }
                    sweep = self.clock.now().plus(SWEEP);
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "an export waits"),
            }
            tokio::select! {
                () = self.clock.sleep(LOOK) => {}
                _ = stop.changed() => return,
            }
        }
    }

    /// Reads the next part; false when there is none.
    ///
    /// # Errors
    /// When the store fails; the same part is read again.
    pub async fn step(&self) -> Result<bool, Error> {
        let mask = self.mask_abuse;
        let part = self
            .store
            .read(move |reader| match reader.next_export_part()? {
                Some(part) => Ok::<_, queue::Error>(Some((lines(reader, &part, mask)?, part))),
                None => Ok(None),
            })
            .await?;
        let Some((lines, part)) = part else { return Ok(false) };
        let id = part.export;
        let filled = self.store.write(Urgency::Batch, move |tx| tx.fill_export(&part, &lines)).await?;
        if filled {
            self.tell(id).await?;
        }
        Ok(true)
    }

    async fn tell(&self, id: i64) -> Result<(), Error> {
        let export: Option<Export> = self.store.read(move |reader| reader.export(id)).await?;
        if let Some(export) = export.filter(|export| export.finished_at.is_some()) {
            tracing::info!(export.id = id, agent = export.initials, posts = export.total, "an export is ready");
        }
        Ok(())
    }
}

/// One JSON object for each post that its owner may still see.
fn lines(reader: &Reader<'_>, part: &ExportPart, mask: bool) -> Result<String, queue::Error> {
    let scope = scope_of(reader, part.agent, None)?;
    let initials: HashMap<AgentId, String> = reader.initials_of_all()?.into_iter().collect();
    let ids: Vec<MentionId> = part.posts.iter().map(|(mention, _)| *mention).collect();
    let posts: HashMap<MentionId, PostRow> = reader.posts(&ids)?.into_iter().map(|post| (post.mention, post)).collect();
    let mut lines = String::new();
    for (mention, case) in &part.posts {
        let Some(post) = posts.get(mention).filter(|post| !post.deleted) else { continue };
        let line = match case {
            Some(case) => with_case(reader, &scope, post, *case, &initials)?,
            None => {
                let seen = post.brands.iter().any(|brand| scope.brands.contains(&brand_number(brand.0)));
                seen.then(|| line(reader, &scope, post))
            }
        };
        if let Some(mut line) = line {
            line["text"] = post.text.seen(mask).map_or_else(|masked| json!(masked.to_string()), |text| json!(text));
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
    }
    Ok(lines)
}

/// What a page shows of a post, without its author; the text is for the caller to say.
fn line(reader: &Reader<'_>, scope: &Scope, post: &PostRow) -> serde_json::Value {
    let ours = |key: &&String| {
        let account = reader.catalog.account_by_key(key);
        account.is_some_and(|account| scope.brands.contains(&brand_number(account.brand.0)))
    };
    json!({
        "mention": post.mention,
        "case": null,
        "posted_at": post.posted_at.to_string(),
        "platform": platform(&post.source),
        "account": post.accounts.iter().find(ours),
        "lang": post.lang.as_str(),
        "label": post.label.as_str(),
        "status": null,
        "team": null,
        "answered_by": null,
        "answered_seconds": null,
        "disposition": null,
        "reach": post.reach,
        "text": null,
    })
}

fn with_case(
    reader: &Reader<'_>,
    scope: &Scope,
    post: &PostRow,
    case: CaseId,
    initials: &HashMap<AgentId, String>,
) -> Result<Option<serde_json::Value>, queue::Error> {
    let Some(case) = reader.case(case)?.filter(|case| scope.teams.contains(&case.team)) else { return Ok(None) };
    let reply = reader.replies(case.id)?.into_iter().find(|reply| reply.state == ReplyState::Sent);
    let mut line = line(reader, scope, post);
    line["case"] = json!(case.id);
    line["label"] = json!((!case.unsure || case.labelled_by.is_some()).then(|| case.label.as_str()));
    line["status"] = json!(case.status.as_str());
    line["team"] = json!(reader.catalog.team(case.team).map(|team| &team.key));
    line["answered_by"] = json!(reply.as_ref().and_then(|reply| initials.get(&reply.agent)));
    line["answered_seconds"] = json!(reply.and_then(|reply| Some(reply.sent_at?.since(post.posted_at).as_secs())));
    line["disposition"] = json!(case.disposition);
    Ok(Some(line))
}
