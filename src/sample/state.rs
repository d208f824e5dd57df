//! What the sample platform knows: accounts, posts, and who was told of what.

use std::collections::{BTreeMap, VecDeque};

use super::SampleAccount;
use crate::clock::Time;

/// An account.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub id: String,
    pub handle: String,
    pub name: String,
    pub reach: u64,
    pub token: Option<String>,
}

/// A post.
#[derive(Clone, Debug)]
pub struct Post {
    /// Its author, by place in the list of accounts.
    pub author: usize,
    /// As it was written; the API gives HTML.
    pub text: String,
    /// The post that it answers.
    pub in_reply_to: Option<String>,
    /// When it says that it was posted.
    pub created_at: Time,
    /// When it was last edited.
    pub edited_at: Option<Time>,
    /// `public`, `unlisted`, `private` or `direct`.
    pub visibility: String,
    /// Its language, as its author set it.
    pub lang: Option<String>,
    /// It came through the API, with this key or none.
    pub through_api: Option<Option<String>>,
    /// It was taken down.
    pub deleted: bool,
}

impl Post {
    /// An empty public post by the account at `author`.
    pub(super) fn by(author: usize) -> Post {
        Post {
            author,
            text: String::new(),
            in_reply_to: None,
            created_at: Time(0),
            edited_at: None,
            visibility: "public".into(),
            lang: None,
            through_api: None,
            deleted: false,
        }
    }
}

/// A post that came through the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its id.
    pub id: String,
    /// Its text as it was sent.
    pub text: String,
    /// The post that it answers.
    pub in_reply_to: Option<String>,
    /// Who can see it.
    pub visibility: String,
    /// The Idempotency-Key that came with it.
    pub idempotency_key: Option<String>,
}

/// A word to an account that somebody mentioned it.
#[derive(Clone, Debug)]
pub(super) struct Notification {
    pub to: usize,
    pub post: String,
}

/// Everything. Ids are digits of one length, so that their order as text is their order in time.
#[derive(Debug)]
pub(super) struct State {
    pub url: String,
    pub accounts: Vec<Account>,
    pub posts: BTreeMap<String, Post>,
    pub notifications: BTreeMap<String, Notification>,
    pub keys: BTreeMap<(usize, String), String>,
    pub failures: VecDeque<(u16, Option<u32>)>,
    pub lost_answers: usize,
    pub requests: u64,
    last_id: u64,
}

impl State {
    pub fn new(url: &str, accounts: &[SampleAccount]) -> State {
        let mut state = State {
            url: url.to_owned(),
            accounts: Vec::new(),
            posts: BTreeMap::new(),
            notifications: BTreeMap::new(),
            keys: BTreeMap::new(),
            failures: VecDeque::new(),
            lost_answers: 0,
            requests: 0,
            last_id: 0,
        };
        for account in accounts {
            let at = state.account(&account.handle, Some(&account.name), None);
            state.accounts[at].token = Some(account.token.clone());
        }
        state
    }

    /// The place of an account, which is made if it is not there.
    pub fn account(&mut self, handle: &str, name: Option<&str>, reach: Option<u64>) -> usize {
        let at = self.accounts.iter().position(|account| account.handle == handle).unwrap_or_else(|| {
            self.accounts.push(Account {
                // Made of the handle's bytes, so that a customer is the same after a restart.
                id: format!("{:018}", handle.bytes().fold(7_u64, |sum, byte| (sum * 31 + u64::from(byte)) % 1_000_000_000_000)),
                handle: handle.to_owned(),
                name: handle.to_owned(),
                reach: 0,
                token: None,
            });
            self.accounts.len() - 1
        });
        if let Some(name) = name {
            self.accounts[at].name = name.to_owned();
        }
        if let Some(reach) = reach {
            self.accounts[at].reach = reach;
        }
        at
    }

    /// An id that is later than all before, and after a restart too.
    fn next_id(&mut self, now: Time) -> String {
        self.last_id = (self.last_id + 1).max((now.0.max(0) as u64) << 16);
        format!("{:018}", self.last_id)
    }

    /// Keeps a post and tells those whom it mentions.
    pub fn add(&mut self, now: Time, post: Post) -> String {
        let id = self.next_id(now);
        let told: Vec<usize> = handles(&post.text)
            .filter_map(|handle| self.accounts.iter().position(|account| account.token.is_some() && account.handle == handle))
            .filter(|at| *at != post.author)
            .collect();
        for to in told {
            let notification = self.next_id(now);
            self.notifications.insert(notification, Notification { to, post: id.clone() });
        }
        self.posts.insert(id.clone(), post);
        id
    }

    pub fn edit(&mut self, id: &str, text: &str, now: Time) -> bool {
        self.posts.get_mut(id).filter(|post| !post.deleted).is_some_and(|post| {
            // The mention in front stays: nobody un-addresses a post by editing it.
            let to = handles(&post.text).next().filter(|_| post.text.starts_with('@')).map(str::to_owned);
            post.text = match to {
                Some(to) if !text.starts_with('@') => format!("@{to} {text}"),
                _ => text.to_owned(),
            };
            post.edited_at = Some(now.max(post.created_at.plus(std::time::Duration::from_millis(1))));
            true
        })
    }

    /// Takes a post down, or shows it again; false if nothing changes.
    pub fn set_deleted(&mut self, id: &str, deleted: bool) -> bool {
        self.posts.get_mut(id).is_some_and(|post| std::mem::replace(&mut post.deleted, deleted) != deleted)
    }

    pub fn received(&self, handle: &str) -> Vec<Received> {
        let of_them = self.posts.iter().filter(|(_, post)| self.accounts[post.author].handle == handle);
        of_them
            .filter_map(|(id, post)| {
                Some(Received {
                    id: id.clone(),
                    text: post.text.clone(),
                    in_reply_to: post.in_reply_to.clone(),
                    visibility: post.visibility.clone(),
                    idempotency_key: post.through_api.clone()?,
                })
            })
            .collect()
    }

    pub fn uri(&self, id: &str) -> Option<String> {
        let post = self.posts.get(id)?;
        Some(format!("{}/users/{}/statuses/{id}", self.url, self.accounts[post.author].handle))
    }

    pub fn account_id(&self, handle: &str) -> Option<String> {
        self.accounts.iter().find(|account| account.handle == handle).map(|account| account.id.clone())
    }

    /// A post that was not taken down.
    pub fn live(&self, id: &str) -> Option<&Post> {
        self.posts.get(id).filter(|post| !post.deleted)
    }
}

/// The handles that a text mentions, without the @ and without a host.
pub(super) fn handles(text: &str) -> impl Iterator<Item = &str> {
    words(text, '@')
}

/// The hashtags of a text, without the #.
pub(super) fn tags(text: &str) -> impl Iterator<Item = &str> {
    words(text, '#')
}

fn words(text: &str, sign: char) -> impl Iterator<Item = &str> {
    text.split(sign).skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}
