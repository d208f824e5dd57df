//! Posts and accounts as the API shows them: JSON with HTML in it.

use serde_json::{Value as Json, json};

use super::state::{Account, Notification, Post, State, handles, tags};

/// A status.
pub(super) fn status(state: &State, id: &str, post: &Post) -> Json {
    let author = &state.accounts[post.author];
    let parent = post.in_reply_to.as_ref().and_then(|id| state.live(id));
    let mentions: Vec<Json> = handles(&post.text)
        .filter_map(|handle| state.accounts.iter().find(|account| account.handle == handle))
        .map(|account| {
            json!({"id": account.id, "username": account.handle, "acct": account.handle, "url": format!("{}/@{}", state.url, account.handle)})
        })
        .collect();
    let tags: Vec<Json> =
        tags(&post.text).map(|tag| json!({"name": tag, "url": format!("{}/tags/{tag}", state.url)})).collect();
    let replies = state.posts.values().filter(|reply| reply.in_reply_to.as_deref() == Some(id) && !reply.deleted).count();
    json!({
        "id": id,
        "uri": format!("{}/users/{}/statuses/{id}", state.url, author.handle),
        "url": format!("{}/@{}/{id}", state.url, author.handle),
        "created_at": post.created_at.to_string(),
        "edited_at": post.edited_at.map(|at| at.to_string()),
        "in_reply_to_id": post.in_reply_to,
        "in_reply_to_account_id": parent.map(|parent| state.accounts[parent.author].id.clone()),
        "content": html(state, &post.text),
        "spoiler_text": "",
        "sensitive": false,
        "visibility": post.visibility,
        "language": post.lang,
        "account": account(state, author),
        "mentions": mentions,
        "tags": tags,
        "media_attachments": [],
        "emojis": [],
        "reblog": null,
        "poll": null,
        "card": null,
        "replies_count": replies,
        "reblogs_count": 0,
        "favourites_count": 0,
    })
}

/// An account.
pub(super) fn account(state: &State, account: &Account) -> Json {
    json!({
        "id": account.id,
        "username": account.handle,
        "acct": account.handle,
        "display_name": account.name,
        "url": format!("{}/@{}", state.url, account.handle),
        "uri": format!("{}/users/{}", state.url, account.handle),
        "bot": false,
        "locked": false,
        "followers_count": account.reach,
        "following_count": 0,
        "note": "",
    })
}

/// A notification of a mention.
pub(super) fn notification(state: &State, id: &str, notification: &Notification) -> Option<Json> {
    let post = state.live(&notification.post)?;
    Some(json!({
        "id": id,
        "type": "mention",
        "created_at": post.created_at.to_string(),
        "group_key": format!("ungrouped-{id}"),
        "account": account(state, &state.accounts[post.author]),
        "status": status(state, &notification.post, post),
    }))
}

/// A text as the real server writes it: paragraphs, breaks, links around mentions, tags and addresses.
fn html(state: &State, text: &str) -> String {
    let mut paragraphs = String::new();
    for paragraph in text.split("\n\n") {
        let lines: Vec<String> = paragraph.lines().map(|line| html_line(state, line)).collect();
        paragraphs.push_str(&format!("<p>{}</p>", lines.join("<br />")));
    }
    paragraphs
}

fn html_line(state: &State, line: &str) -> String {
    let words: Vec<String> = line.split(' ').map(|word| html_word(state, word)).collect();
    words.join(" ")
}

fn html_word(state: &State, word: &str) -> String {
    if let Some(handle) = handles(word).next().filter(|handle| word.starts_with('@') && !handle.is_empty()) {
        let rest = escape(&word[1 + handle.len()..]);
        let url = format!("{}/@{handle}", state.url);
        return format!(
            "<span class=\"h-card\" translate=\"no\"><a href=\"{url}\" class=\"u-url mention\">@<span>{handle}</span></a></span>{rest}"
        );
    }
    if let Some(tag) = tags(word).next().filter(|tag| word.starts_with('#') && !tag.is_empty()) {
        let rest = escape(&word[1 + tag.len()..]);
        return format!(
            "<a href=\"{}/tags/{tag}\" class=\"mention hashtag\" rel=\"tag\">#<span>{tag}</span></a>{rest}",
            state.url
        );
    }
    if let Some(rest) = word.strip_prefix("https://") {
        let (shown, hidden) = rest.split_at(rest.char_indices().nth(30).map_or(rest.len(), |(at, _)| at));
        let ellipsis = if hidden.is_empty() { "" } else { " class=\"ellipsis\"" };
        return format!(
            "<a href=\"{}\" rel=\"nofollow noopener\"><span class=\"invisible\">https://</span><span{ellipsis}>{}</span><span class=\"invisible\">{}</span></a>",
            escape(word),
            escape(shown),
            escape(hidden)
        );
    }
    escape(word)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
