//! Walks the threads of cases that are still open: what is said there belongs to them, whoever says it.

use minijinja::context;
use sha2::{Digest, Sha256};

use super::{
    Error, Poller, Walk,
    format::{Do, Paging},
    mark::Place,
    page::{Step, read},
    revisit::deleted,
};
use crate::{mention::Envelope, text::hex};

/// Posts of threads that are known again.
const MARKS: usize = 2_000;

/// One look at each of the newest open threads of the account's source.
///
/// # Errors
/// Why the look broke off; what was found until then is appended.
pub(super) async fn walk_threads(poller: &Poller) -> Result<Walk, Error> {
    let Some(follow) = &poller.stream().follow else { return Ok(Walk::default()) };
    let account = &poller.account;
    let since = account.clock.now().minus(follow.window.0);
    let saved = poller.home.cursor(&poller.cursor_name()).await?;
    let mut marks = saved.and_then(|saved| Place::parse(&saved)).unwrap_or_default().marks;
    let mut walk = Walk::default();
    for root in poller.home.open_threads(&account.source, since, follow.limit).await? {
        let values = context! { root => context! { native_id => root.native_id, local_ref => root.local_ref } };
        let call = account.stream_request(poller.stream(), values, &[])?;
        let answer = match account.send(call, &poller.price(), None).await {
            Ok(answer) => answer,
            Err(Error::Status { action: Do::Skip, .. }) => continue,
            Err(Error::Status { action: Do::Gone, .. }) => {
                walk.items += poller.keep(vec![deleted(poller, &root)]).await?;
                continue;
            }
            Err(error) => return Err(error),
        };
        walk.pages += 1;
        let page = read(&answer, account, poller.stream(), &Paging::None, &Step::first(&Paging::None))?;
        let found = page.records.iter().filter_map(|(_, record)| poller.mention(record)).map(|one| (mark(&one), one));
        let (fresh, posts): (Vec<String>, Vec<Envelope>) = found.filter(|(mark, _)| !marks.contains(mark)).unzip();
        if fresh.is_empty() {
            continue;
        }
        walk.items += poller.keep(posts).await?;
        marks.extend(fresh);
        let place = Place { high: None, marks: marks[marks.len().saturating_sub(MARKS)..].to_vec() };
        poller.home.save_cursor(&poller.cursor_name(), &place.to_text()?).await?;
    }
    Ok(walk)
}

/// One version of a post, shortly.
fn mark(post: &Envelope) -> String {
    hex(&Sha256::digest(format!("{}@{}", post.native_id, post.version()).as_bytes())[..8])
}
