//! Looks again at posts that somebody works on: what was edited comes again, what was deleted goes, and how often a
//! post was answered, passed on and liked is told: the sign that it spreads.

use minijinja::context;
use reqwest::Method;

use super::{
    Error, Poller, Walk,
    format::{Do, Paging, Revisit},
    page::{Step, read},
};
use crate::{
    desk::Watched,
    mention::{Envelope, Op},
};

/// One look at all watched posts of the account's source.
///
/// # Errors
/// Why the look broke off; what was found until then is appended.
pub(super) async fn look_again(poller: &Poller) -> Result<Walk, Error> {
    let Some(revisit) = &poller.stream().revisit else { return Ok(Walk::default()) };
    let account = &poller.account;
    let since = account.clock.now().minus(revisit.window.0);
    let watched = poller.home.watched(&account.source, since, revisit.limit).await?;
    let mut walk = Walk::default();
    for batch in watched.chunks(revisit.batch) {
        let ids: Vec<String> = batch.iter().map(|one| one.local_ref.clone()).collect();
        let call = account.stream_request(poller.stream(), context! { ids => ids }, &ids)?;
        let answer = match account.send(call, &poller.price(), None).await {
            Ok(answer) => answer,
            // Asked for by itself, and there no more.
            Err(Error::Status { action: Do::Gone, .. }) if batch.len() == 1 => {
                walk.items += poller.keep(vec![deleted(poller, &batch[0])]).await?;
                continue;
            }
            Err(error) => return Err(error),
        };
        let page = read(&answer, account, poller.stream(), &Paging::None, &Step::first(&Paging::None))?;
        let found: Vec<Envelope> = page.records.iter().filter_map(|(_, record)| poller.mention(record)).collect();
        let mut news = Vec::new();
        for one in batch {
            match found.iter().find(|post| post.native_id == one.native_id) {
                Some(post) if post.version() > one.version => news.push(post.clone()),
                Some(post) if post.engagement.is_some() && post.engagement != one.engagement => {
                    news.push(Envelope { op: Op::Metrics, ..post.clone() });
                }
                Some(_) => {}
                None if gone(poller, revisit, one).await? => news.push(deleted(poller, one)),
                None => {}
            }
        }
        walk.pages += 1;
        walk.items += poller.keep(news).await?;
    }
    Ok(walk)
}

/// A post that is missing from a list may be hidden from us, or the list may be wrong, and a delete
/// cannot be taken back: the post itself is asked for.
async fn gone(poller: &Poller, revisit: &Revisit, one: &Watched) -> Result<bool, Error> {
    let Some(confirm) = &revisit.confirm else { return Ok(true) };
    let account = &poller.account;
    let values = account.values(context! { id => one.local_ref });
    let call = account.request(Method::GET, confirm, &Default::default(), &values)?;
    match account.send(call, &poller.price(), None).await {
        Ok(_) => Ok(false),
        Err(Error::Status { action: Do::Gone, .. }) => Ok(true),
        Err(Error::Status { status, .. }) if revisit.gone.has(status) => Ok(true),
        Err(error) => Err(error),
    }
}

/// The delete of a post.
pub(super) fn deleted(poller: &Poller, one: &Watched) -> Envelope {
    Envelope {
        v: Envelope::VERSION,
        op: Op::Delete,
        source: poller.account.source.clone(),
        native_id: one.native_id.clone(),
        local_ref: Some(one.local_ref.clone()),
        first_seen_at: poller.account.clock.now(),
        ..Envelope::default()
    }
}
