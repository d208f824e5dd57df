//! A list and its filters: which cases somebody looks at, as an address, as a query, as a view.
//!
//! The page, its pull, its stream and the answer to a command all read the same address into the same
//! [`Room`], so they cannot disagree about what belongs to the list.

use super::{
    fault::Fault,
    fill::{self, Fill, team_name},
};
use crate::{
    case::Status,
    mention::{Label, Lang, platform},
    queue::{Owner, QueueFilter, QueueRow, Reader, Team},
    staff::{Action, Viewer, authorize},
    web::views::{Choice, Counts, Filter, Frame, List},
};

/// Rows of one pull.
const PULL: u32 = 50;
/// More rows than this are never in a page: then filters help.
const MOST: u32 = 200;

/// A list of cases.
#[derive(Clone, Debug)]
pub(super) struct Room {
    /// The team; none for one's own cases.
    pub team: Option<Team>,
    /// Which cases.
    pub filter: QueueFilter,
    /// How many rows.
    pub shown: u32,
    /// Filters as they stand in the address, in their order; without empty ones.
    asked: Vec<(&'static str, String)>,
}

const FILTERS: [&str; 6] = ["label", "lang", "platform", "account", "owner", "status"];

/// States of a case that a queue holds.
const UNFINISHED: [Status; 4] = [Status::New, Status::Open, Status::WaitingCustomer, Status::WaitingThirdParty];

impl Room {
    /// Reads `/queue/{team}` or `/mine` with a query; rights are checked.
    pub(super) fn open(reader: &Reader<'_>, viewer: &Viewer, team: Option<&str>, query: &str) -> Result<Room, Fault> {
        let team = match team {
            Some(key) => {
                let team = reader.catalog.team_by_key(key).ok_or(Fault::NoPage)?;
                authorize(viewer, Action::Read, team.id).map_err(|_| Fault::NoPage)?;
                Some(team.clone())
            }
            None => None,
        };
        let given: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let value =
            |name: &str| given.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str());
        let mut filter = QueueFilter {
            teams: team.as_ref().map_or_else(|| viewer.visible_teams(), |team| vec![team.id]),
            label: value("label").and_then(Label::parse),
            unsure: value("label") == Some("unsorted"),
            status: value("status").and_then(Status::parse),
            lang: value("lang").and_then(Lang::parse),
            platform: value("platform").map(str::to_owned),
            account: value("account").and_then(|key| reader.catalog.account_by_key(key)).map(|account| account.id),
            owner: Owner::Any,
        };
        filter.owner = match value("owner") {
            None => Owner::Any,
            Some("none") => Owner::Nobody,
            Some("me") => Owner::Agent(viewer.id),
            Some(initials) => reader.agent_by_initials(initials)?.map_or(Owner::Any, Owner::Agent),
        };
        if team.is_none() {
            filter.owner = Owner::Agent(viewer.id);
        }
        let asked = FILTERS.iter().filter(|name| team.is_some() || **name != "owner");
        Ok(Room {
            asked: asked.filter_map(|name| value(name).map(|value| (*name, value.to_owned()))).collect(),
            shown: value("shown").and_then(|shown| shown.parse().ok()).unwrap_or(PULL).clamp(PULL, MOST),
            team,
            filter,
        })
    }

    /// Reads the address of a page: the list that stands behind it, if it is one.
    pub(super) fn of_page(reader: &Reader<'_>, viewer: &Viewer, page: &str) -> Result<Option<Room>, Fault> {
        let (path, query) = page.split_once('?').unwrap_or((page, ""));
        match path.strip_prefix("/queue/") {
            Some(team) => Room::open(reader, viewer, Some(team), query).map(Some),
            None if path == "/mine" => Room::open(reader, viewer, None, query).map(Some),
            None => Ok(None),
        }
    }

    /// Path of the page.
    pub(super) fn path(&self) -> String {
        self.team.as_ref().map_or_else(|| "/mine".into(), |team| format!("/queue/{}", team.key))
    }

    fn query(&self, shown: u32, more: &[(&str, &str)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(more);
        query.extend_pairs(&self.asked);
        if shown > PULL {
            query.append_pair("shown", &shown.to_string());
        }
        query.finish()
    }

    fn address(path: &str, query: &str) -> String {
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }

    /// Where the list is pulled.
    pub(super) fn pull(&self) -> String {
        Room::address(&format!("{}/rows", self.path()), &self.query(self.shown, &[]))
    }

    /// Its stream, from an event on.
    pub(super) fn live(&self, since: i64) -> String {
        let since = since.to_string();
        let query = match &self.team {
            Some(team) => self.query(PULL, &[("room", "queue"), ("team", &team.key), ("since", &since)]),
            None => self.query(PULL, &[("room", "mine"), ("since", &since)]),
        };
        format!("/live?{query}")
    }

    /// Heading of the page.
    pub(super) fn title(&self, f: &Frame) -> String {
        self.team.as_ref().map_or_else(|| f.w.mine.into(), |team| team_name(team, f.language))
    }

    /// The figures and the rows.
    pub(super) fn list(&self, reader: &Reader<'_>, fill: &Fill<'_>, f: &Frame, seq: i64) -> Result<List, Fault> {
        let lines = reader.queue(&self.filter, fill.viewer.id, f.now, self.shown)?;
        let groups = fill.groups(&lines, f);
        let counts = reader.queue_counts(&self.filter, f.now)?;
        let more = counts.open > u64::from(self.shown) && self.shown < MOST;
        let last_seen = if groups.is_empty() {
            let newest = reader.newest_mention_at(crate::case::Seq(seq))?;
            reader.mentions(&[newest])?.first().map(|mention| mention.first_seen_at)
        } else {
            None
        };
        Ok(List {
            more: more.then(|| Room::address(&self.path(), &self.query(self.shown + PULL, &[]))),
            clear: (!self.asked.is_empty()).then(|| self.path()),
            mine: self.team.is_none(),
            warning: None,
            total: counts.open,
            counts: Counts {
                open: counts.open,
                overdue: counts.overdue,
                unclaimed: counts.unclaimed,
                next: fill::next_clock(counts.next_due, &groups, f),
            },
            groups,
            last_seen,
            seq,
        })
    }

    /// The figures alone.
    pub(super) fn counts(&self, reader: &Reader<'_>, f: &Frame) -> Result<Counts, Fault> {
        let counts = reader.queue_counts(&self.filter, f.now)?;
        let next = fill::next_clock(counts.next_due, &[], f);
        Ok(Counts { open: counts.open, overdue: counts.overdue, unclaimed: counts.unclaimed, next })
    }

    /// Does a case belong to the list?
    pub(super) fn holds(&self, line: &QueueRow) -> bool {
        let (case, filter) = (&line.case, &self.filter);
        let platform = platform(&line.mention.source);
        case.status.unfinished()
            && filter.teams.contains(&case.team)
            && filter.label.is_none_or(|label| label == case.label)
            && (!filter.unsure || case.unsure)
            && filter.status.is_none_or(|status| status == case.status)
            && filter.account.is_none_or(|account| account == case.account)
            && filter.lang.is_none_or(|lang| lang == line.mention.lang)
            && filter.platform.as_ref().is_none_or(|wanted| wanted == platform || *wanted == line.mention.source)
            && match filter.owner {
                Owner::Any => true,
                Owner::Nobody => case.assignee.is_none(),
                Owner::Agent(agent) => case.assignee == Some(agent),
            }
    }

    /// The filters with what they can be.
    pub(super) fn filters(&self, reader: &Reader<'_>, f: &Frame) -> Result<Vec<Filter>, Fault> {
        let now = |name: &str| self.asked.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
        let filter = |name: &'static str, title: &str, choices: Vec<(String, String)>| {
            let choice = |(value, shown): (String, String)| Choice { chosen: now(name) == Some(&value), value, name: shown };
            Filter { name: name.into(), title: title.into(), choices: choices.into_iter().map(choice).collect() }
        };
        let mut labels: Vec<(String, String)> = f.labels().map(|(code, word)| (code.into(), word.into())).to_vec();
        labels.push(("unsorted".into(), f.w.unsorted.into()));
        let langs = [Lang::Ko, Lang::En, Lang::Ja, Lang::Zh].map(|lang| (lang.as_str().into(), lang.as_str().into())).to_vec();
        let mut filters = vec![filter("label", f.w.filter_label, labels), filter("lang", f.w.filter_lang, langs)];
        if let Some(platform) = now("platform") {
            filters.push(filter("platform", f.w.filter_platform, vec![(platform.into(), platform.into())]));
        }
        let ours = |brand| self.team.as_ref().is_none_or(|team| team.brand == brand);
        let accounts = reader.catalog.accounts.iter().filter(|account| ours(account.brand));
        let accounts: Vec<_> = accounts.map(|account| (account.key.clone(), fill::handle(&account.handle))).collect();
        if accounts.len() > 1 && self.team.is_some() {
            filters.push(filter("account", f.w.filter_account, accounts));
        }
        if let Some(team) = &self.team {
            let mut owners: Vec<(String, String)> = vec![("none".into(), f.w.unclaimed.into()), ("me".into(), f.w.me.into())];
            owners.extend(reader.colleagues(team.id)?.into_iter().map(|(_, initials, _)| (initials.clone(), initials)));
            filters.push(filter("owner", f.w.filter_owner, owners));
        }
        let states = UNFINISHED.map(|status| (status.as_str().to_owned(), f.w.status(status).to_owned()));
        filters.push(filter("status", f.w.filter_state, states.to_vec()));
        Ok(filters)
    }
}
