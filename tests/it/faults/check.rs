//! The ledger against the store, its events, its clocks, the index and the platform: the oracle of every fault.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use moksori::{
    app,
    case::{CaseId, EventKind, ReplyState, Seq},
    clock::{Clock, Time},
    config::Config,
    index::Follower,
    mention::MentionId,
    query::Query,
    queue::{Case, Event, PostRow, Reply, Store},
    sample::Sample,
    search::{Order, Page, Scope},
    sla::{Kind, Origin, State},
};
use prometheus::Registry;

use super::ledger::{BLOCK, Ledger, block_word, edited_token, edited_word, number_in};
use crate::kit::SHOP;

/// Where the replay comes from.
pub const SOURCE: &str = "file:shop-file";

/// What must be there besides the ledger's posts.
pub struct Expected<'a> {
    /// Until when alarms were fired.
    pub stopped_at: Time,
    /// The platform and the questions asked on it, each of which was answered once.
    pub asked: Option<(&'a Sample, &'a [String])>,
    pub dead_letters: u64,
}

impl Expected<'_> {
    /// Nothing besides the ledger's posts.
    pub fn nothing_else(stopped_at: Time) -> Self {
        Expected { stopped_at, asked: None, dead_letters: 0 }
    }
}

/// What the comparison found.
#[derive(Default)]
pub struct Found {
    pub lost: usize,
    pub doubled: usize,
    /// Deadlines and breaches that are not where they were promised.
    pub moved: usize,
    pub replies_doubled: usize,
    pub replies_lost: usize,
    pub complaints: Vec<String>,
    pub posts: usize,
    pub figures: String,
}

impl Found {
    fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }

    /// Exactly one is right.
    fn one(&mut self, count: usize, what: impl FnOnce() -> String) {
        match count {
            1 => {}
            0 => {
                self.lost += 1;
                self.complain(format!("lost: {}", what()));
            }
            _ => {
                self.doubled += 1;
                self.complain(format!("{count} times: {}", what()));
            }
        }
    }
}

/// What the store holds.
struct Held {
    posts: Vec<PostRow>,
    cases: Vec<(Case, Vec<MentionId>, Vec<Reply>)>,
    events: Vec<Event>,
}

/// Compares everything.
pub async fn all(config: &Config, ledger: &Ledger, expected: &Expected<'_>) -> Found {
    let registry = Registry::new();
    let (store, _rules) = app::open_store(config, &Clock::System, &registry).await.unwrap();
    let held = read(&store).await;
    let mut found = Found { posts: ledger.posts.len(), ..Found::default() };
    let mut known = Vec::with_capacity(ledger.posts.len());
    for start in (0..ledger.posts.len()).step_by(10_000) {
        let end = (start + 10_000).min(ledger.posts.len());
        let ids: Vec<_> = (start..end).map(|number| (SOURCE.to_owned(), number.to_string())).collect();
        known.extend(store.read(move |reader| reader.labels(&ids)).await.unwrap().iter().map(Option::is_some));
    }
    let asked = expected.asked.map_or(0, |(_, asked)| asked.len());
    let rows = mentions(ledger, &held, &known, &mut found);
    let cases = cases(ledger, &held, asked, &mut found);
    events(ledger, &held, &rows, &mut found);
    clocks(ledger, &held, &rows, expected.stopped_at, &mut found);
    if let Some((sample, asked)) = expected.asked {
        replies(&held, sample, asked, &mut found);
    }

    let (search, opened) = app::open_search(config, &registry).unwrap();
    let last = held.events.last().unwrap().seq;
    if opened.rebuilt || opened.seq != last {
        found.complain(format!("the index was closed at {:?} of {last:?}, rebuilt: {}", opened.seq, opened.rebuilt));
    }
    let mut follower = Follower::new(store.clone(), search.clone(), Clock::System, opened.seq).await.unwrap();
    while follower.step().await.unwrap() {}
    let catalog = store.catalog();
    let brands = catalog.brands.iter().map(|brand| u32::try_from(brand.id.0).unwrap()).collect();
    let scope = Scope { teams: catalog.teams.iter().map(|team| team.id).collect(), brands };
    let find = |word: String| {
        let query: Query = word.parse().unwrap();
        search.find(&query, &scope, Order::Newest, Page { offset: 0, limit: 2 * BLOCK }).unwrap()
    };
    for (block, posts) in ledger.posts.chunks(BLOCK).enumerate() {
        for (word, edited_only) in [(block_word(block), false), (edited_word(block), true)] {
            let numbers = (block * BLOCK..).zip(posts).filter(|(_, post)| post.alive() && (post.edited || !edited_only));
            let wanted: BTreeSet<MentionId> = numbers.filter_map(|(number, _)| rows.get(&number).copied()).collect();
            let hits = find(word.clone());
            let here: BTreeSet<MentionId> = hits.hits.iter().map(|hit| hit.mention).collect();
            if hits.total != wanted.len() || here != wanted {
                let missing = wanted.difference(&here).count();
                found.lost += missing;
                found.doubled += hits.total.saturating_sub(here.len());
                found.complain(format!("{word} finds {} posts, not {}; {missing} are missing", hits.total, wanted.len()));
            }
        }
    }
    for number in 0..asked {
        found.one(find(format!("kq{number:03}q")).total, || format!("question {number} in the index"));
    }
    let alive = held.posts.iter().filter(|row| !row.deleted).count();
    if search.documents() != alive {
        found.complain(format!("{} documents for {alive} mentions", search.documents()));
    }
    let totals = store.read(|reader| reader.totals()).await.unwrap();
    if totals.dead_letters != expected.dead_letters {
        found.complain(format!("{} dead letters, not {}", totals.dead_letters, expected.dead_letters));
    }
    found.figures = format!(
        "mentions={} cases={cases} events={} documents={} breached={} replies={}",
        totals.mentions,
        totals.events,
        search.documents(),
        totals.breached,
        totals.replies_sent
    );
    drop(follower);
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    found
}

/// All cases of a desk that is down.
pub async fn cases_of(config: &Config) -> Vec<Case> {
    let (store, _rules) = app::open_store(config, &Clock::System, &Registry::new()).await.unwrap();
    let held = read(&store).await;
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    held.cases.into_iter().map(|(case, ..)| case).collect()
}

async fn read(store: &Store) -> Held {
    let mut events = Vec::new();
    loop {
        let after = events.last().map_or(Seq(0), |event: &Event| event.seq);
        let more = store.read(move |reader| reader.events_after(after, 10_000)).await.unwrap();
        if more.is_empty() {
            break;
        }
        events.extend(more);
    }
    let newest = store.read(|reader| reader.newest_mention_at(Seq(i64::MAX))).await.unwrap();
    let mut posts = Vec::new();
    for start in (1..=newest.0 + 1_000).step_by(1_000) {
        let ids: Vec<MentionId> = (start..start + 1_000).map(MentionId).collect();
        posts.extend(store.read(move |reader| reader.posts(&ids)).await.unwrap());
    }
    let mut cases = Vec::new();
    let mut after = CaseId(0);
    loop {
        let facts = store.read(move |reader| reader.case_facts_after(after, 2_000)).await.unwrap();
        let Some(last) = facts.last() else { break };
        after = last.case;
        let read = store
            .read(move |reader| {
                let whole = facts.into_iter().map(|facts| {
                    let case = reader.case(facts.case)?.expect("its facts are there");
                    Ok((case, facts.mentions, reader.replies(facts.case)?))
                });
                whole.collect::<Result<Vec<_>, moksori::queue::Error>>()
            })
            .await
            .unwrap();
        cases.extend(read);
    }
    Held { posts, cases, events }
}

/// Every post has one row with its last text, and nothing else has one; of a deleted one the text is gone.
fn mentions(ledger: &Ledger, held: &Held, known: &[bool], found: &mut Found) -> HashMap<usize, MentionId> {
    let mut by_number: HashMap<Option<usize>, Vec<&PostRow>> = HashMap::new();
    for row in held.posts.iter().filter(|row| row.source == SOURCE) {
        by_number.entry(number_in(row.text.whole())).or_default().push(row);
    }
    let gone = by_number.remove(&None).unwrap_or_default();
    let expected = ledger.posts.iter().filter(|post| post.kept && post.deleted).count();
    if gone.len() != expected || gone.iter().any(|row| !row.text.whole().is_empty() || !row.deleted) {
        found.complain(format!("{} posts were deleted, not {expected}", gone.len()));
    }
    let mut rows = HashMap::new();
    for (number, post) in ledger.posts.iter().enumerate() {
        let here = by_number.remove(&Some(number)).unwrap_or_default();
        if !post.kept || post.deleted {
            if post.kept != known[number] || !here.is_empty() {
                found.complain(format!("deleted post {number} is there, or not remembered"));
            }
            continue;
        }
        found.one(here.len(), || format!("post {number} in the store"));
        let Some(row) = here.first() else { continue };
        rows.insert(number, row.mention);
        if row.deleted || row.text.whole().contains(&edited_token(number)) != post.edited {
            found.complain(format!("post {number} says \"{}\"", row.text.whole()));
        }
    }
    for number in by_number.keys() {
        found.complain(format!("nobody wrote post {number:?}"));
    }
    rows
}

/// One case for each thread with a complaint, holding all its posts. Each author has one thread.
fn cases(ledger: &Ledger, held: &Held, asked: usize, found: &mut Found) -> usize {
    let own = held.posts.iter().filter(|row| row.source == SOURCE);
    let authors: HashMap<MentionId, &str> = own.map(|row| (row.mention, row.author.as_str())).collect();
    let mut holding: HashMap<&str, Vec<usize>> = HashMap::new();
    for (case, mentions, _) in &held.cases {
        let distinct: BTreeSet<_> = mentions.iter().collect();
        if case.mentions as usize != mentions.len() || distinct.len() != mentions.len() {
            found.complain(format!("case {:?} counts {} mentions and holds {mentions:?}", case.id, case.mentions));
        }
        let own: BTreeSet<&str> = mentions.iter().filter_map(|mention| authors.get(mention).copied()).collect();
        if own.len() > 1 {
            found.complain(format!("case {:?} is of {own:?}", case.id));
        }
        own.iter().for_each(|author| holding.entry(author).or_default().push(mentions.len()));
    }
    let wanted = ledger.cases();
    for (author, posts) in &wanted {
        let cases = holding.remove(author.as_str()).unwrap_or_default();
        found.one(cases.len(), || format!("case of {author}"));
        let held: usize = cases.iter().sum();
        if held != *posts {
            found.complain(format!("the case of {author} holds {held} posts, not {posts}"));
        }
    }
    for author in holding.keys() {
        found.complain(format!("{author} has a case for nothing"));
    }
    if held.cases.len() != wanted.len() + asked {
        found.complain(format!("{} cases, not {}", held.cases.len(), wanted.len() + asked));
    }
    held.cases.len()
}

/// The sequence has no gap, each mention came in once, and those of a thread in their order.
fn events(ledger: &Ledger, held: &Held, rows: &HashMap<usize, MentionId>, found: &mut Found) {
    for (event, expected) in held.events.iter().zip(1..) {
        if event.seq.0 != expected {
            found.complain(format!("event {expected} is missing"));
            break;
        }
    }
    let mut came: HashMap<MentionId, usize> = HashMap::new();
    let mut order: HashMap<MentionId, Seq> = HashMap::new();
    let mut once: BTreeMap<String, usize> = BTreeMap::new();
    for event in &held.events {
        use EventKind::{
            AnsweredThere, Breached, Deleted, Edited, Folded, Joined, Noted, Opened, ReplyQueued, ReplySent, Warned,
        };
        // A reply of ours that is seen on the platform before its receipt has come says so by its sending.
        if let (Some(mention), Opened | Joined | Folded | Noted | AnsweredThere | ReplySent) = (event.mention, event.kind) {
            *came.entry(mention).or_default() += 1;
            order.entry(mention).or_insert(event.seq);
        }
        if matches!(event.kind, Edited | Deleted | Warned | Breached | ReplyQueued) {
            let key = format!("{:?} {:?} {:?} {:?}", event.kind, event.case, event.mention, event.payload);
            *once.entry(key).or_default() += 1;
        }
    }
    for row in &held.posts {
        found.one(came.get(&row.mention).copied().unwrap_or(0), || format!("event of {:?}'s coming", row.mention));
    }
    for (key, count) in once.iter().filter(|(_, count)| **count > 1) {
        found.one(*count, || format!("event {key}"));
    }
    let mut threads: BTreeMap<usize, Vec<(usize, Seq)>> = BTreeMap::new();
    for (number, post) in ledger.posts.iter().enumerate() {
        if let Some(seq) = rows.get(&number).and_then(|mention| order.get(mention)) {
            threads.entry(post.opener).or_default().push((post.told, *seq));
        }
    }
    for (opener, mut posts) in threads {
        posts.sort();
        if !posts.is_sorted_by_key(|(_, seq)| *seq) {
            found.complain(format!("the thread of post {opener} came in another order: {posts:?}"));
        }
    }
}

/// Every clock counts from the post that opened its case; each breach is one event, at the deadline.
fn clocks(ledger: &Ledger, held: &Held, rows: &HashMap<usize, MentionId>, stopped_at: Time, found: &mut Found) {
    let numbers: HashMap<MentionId, usize> = rows.iter().map(|(number, mention)| (*mention, *number)).collect();
    let mut breaches: HashMap<(CaseId, String), Vec<Time>> = HashMap::new();
    for event in held.events.iter().filter(|event| event.kind == EventKind::Breached) {
        let payload: serde_json::Value = serde_json::from_str(event.payload.as_deref().unwrap()).unwrap();
        let clock = format!("{} {}", payload["clock"].as_str().unwrap(), payload["cycle"]);
        breaches.entry((event.case.unwrap(), clock)).or_default().push(event.at);
    }
    for (case, _, _) in &held.cases {
        let Some(number) = numbers.get(&case.mention) else { continue };
        let posted_at = ledger.posts[*number].posted_at;
        for (kind, minutes) in [(Kind::Triage, 6), (Kind::FirstResponse, 12), (Kind::Resolution, 24 * 60)] {
            let clocks: Vec<_> = case.clocks.iter().filter(|clock| clock.kind == kind).collect();
            found.one(clocks.len(), || format!("{kind:?} of {:?}", case.id));
            let Some(clock) = clocks.first() else { continue };
            let deadline = posted_at.plus(Duration::from_secs(minutes * 60));
            if (clock.origin_at, clock.origin_source, clock.deadline_at) != (posted_at, Origin::Posted, deadline) {
                found.moved += 1;
                found.complain(format!("{kind:?} of {:?} is due at {}, not {deadline}", case.id, clock.deadline_at));
            }
            let told = breaches.remove(&(case.id, format!("{} {}", kind.as_str(), clock.cycle))).unwrap_or_default();
            let due = deadline < stopped_at.minus(Duration::from_secs(2));
            if due || clock.state == State::Breached {
                found.one(told.len(), || format!("breach of {kind:?} of {:?}, which is {:?}", case.id, clock));
            }
            if told.iter().any(|at| *at != deadline) || (!due && told.len() > 1) {
                found.moved += 1;
                found.complain(format!("{kind:?} of {:?} breached at {told:?}, not {deadline}", case.id));
            }
        }
    }
}

/// The platform has every reply once, and the desk knows it.
fn replies(held: &Held, sample: &Sample, asked: &[String], found: &mut Found) {
    let received = sample.posts_by(SHOP);
    let mut known = 0;
    for (case, _, replies) in &held.cases {
        for reply in replies {
            known += 1;
            let count = received.iter().filter(|post| post.text.ends_with(&reply.text)).count();
            found.replies_lost += usize::from(count == 0);
            found.replies_doubled += count.saturating_sub(1);
            found.one(count, || format!("reply {:?} on the platform ({:?})", reply.text, reply.state));
            let told = held.events.iter().filter(|event| event.case == Some(case.id) && event.kind == EventKind::ReplySent);
            found.one(told.count(), || format!("event of {:?} being sent", reply.id));
            let first = case.clocks.iter().find(|clock| clock.kind == Kind::FirstResponse);
            if reply.state != ReplyState::Sent || first.is_none_or(|clock| clock.state != State::Met) {
                found.complain(format!("reply {:?} is {:?}, its clock {first:?}", reply.id, reply.state));
            }
        }
    }
    if known != asked.len() || received.len() != asked.len() {
        found.complain(format!("{} questions, {known} replies here, {} there", asked.len(), received.len()));
    }
    let answered: BTreeSet<_> = received.iter().filter_map(|post| post.in_reply_to.as_ref()).collect();
    for post in asked.iter().filter(|post| !answered.contains(post)) {
        found.complain(format!("nobody answered {post}"));
    }
}
