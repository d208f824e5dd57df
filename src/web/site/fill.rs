//! From the store's rows to the values that templates draw.

use std::collections::HashMap;

use super::fault::Fault;
use crate::{
    case::{EventKind, Priority, ReplyState, Status},
    clock::Time,
    mention::{Label, MentionId, Reason, Side, TimeQuality, platform},
    queue::{Case, CaseView, Catalog, EarlierCase, MentionView, QueueRow, Reader, Reply, Team},
    sla::{Kind, Origin, Policies, SlaClock, State},
    staff::{Action, TeamId, Viewer, authorize},
    text,
    web::{
        format,
        views::{
            self, Answer, CasePage, Choice, ClockView, Contact, Course, Earlier, Frame, Group, GroupKind, LabelView, LogLine,
            May, Passage, Place, Promise, Receiver, ReplyBubble, Row, Said, ThreadItem,
        },
        words::Language,
    },
};

/// Below this confidence a label is shown with a question mark.
const DOUBT: u8 = 60;
/// Letters of an earlier case.
const EARLIER: usize = 120;

/// What filling needs beside the rows.
pub(super) struct Fill<'a> {
    /// Whose page it is.
    pub viewer: &'a Viewer,
    /// Policies, for the warnings.
    pub policies: &'a Policies,
    /// Teams and accounts.
    pub catalog: &'a Catalog,
    /// How a case can end: key, Korean and English name.
    pub dispositions: &'a [(String, String, String)],
    /// Abusive posts that this person asked to see.
    pub shown: &'a [MentionId],
}

/// A name in the page's language.
pub(super) fn named<'a>(language: Language, ko: &'a str, en: &'a str) -> &'a str {
    match language {
        Language::Ko => ko,
        Language::En => en,
    }
}

/// A team's name.
pub(super) fn team_name(team: &Team, language: Language) -> String {
    named(language, &team.name_ko, &team.name_en).to_owned()
}

/// A confidence in hundredths.
pub(super) fn percent(confidence: f32) -> u8 {
    // In range by the clamp; a NaN becomes 0.
    (confidence.clamp(0.0, 1.0) * 100.0).round() as u8
}

/// A label with its confidence.
pub(super) fn label(case: &Case) -> LabelView {
    if case.unsure && case.labelled_by.is_none() {
        return LabelView { label: None, percent: None, doubtful: false };
    }
    let percent = percent(case.confidence);
    match case.labelled_by {
        Some(_) => LabelView { label: Some(case.label), percent: None, doubtful: false },
        None => LabelView { label: Some(case.label), percent: Some(percent), doubtful: percent < DOUBT },
    }
}

fn millis(span: std::time::Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl Fill<'_> {
    /// A clock as its face; `posted_at` is when the customer posted.
    pub(super) fn clock(&self, clock: &SlaClock, status: Status, posted_at: Time, f: &Frame) -> ClockView {
        let policy = self.policies.get(&clock.policy);
        let warn = policy.warnings().iter().map(|warn| clock.target.saturating_sub(warn.due(clock.target))).max();
        let course = match clock.state {
            State::Paused => {
                let left = clock.target.saturating_sub(clock.elapsed);
                Course::Paused { left_ms: millis(left), reason: f.w.status(status).into() }
            }
            State::Met => Course::Met,
            State::MetLate => Course::MetLate,
            State::Cancelled => Course::Cancelled(clock.cancelled.map(|reason| reason.as_str().to_owned()).unwrap_or_default()),
            State::Breached => Course::Running,
            State::Running => {
                // The first business millisecond from now on: later than now outside the calendar.
                let opens = policy.calendar().add(f.now, std::time::Duration::from_millis(1));
                if opens.0 - f.now.0 > 1 { Course::Closed(Time(opens.0 - 1)) } else { Course::Running }
            }
        };
        ClockView {
            promise: match clock.kind {
                Kind::Triage => Promise::Triage,
                Kind::FirstResponse => Promise::FirstResponse,
                Kind::NextResponse | Kind::Progress => Promise::NextResponse,
                Kind::Resolution | Kind::Promise => Promise::Resolution,
            },
            due: if clock.deadline_at == Time::NEVER { f.now } else { clock.deadline_at },
            target_ms: millis(clock.target),
            warn_ms: warn.map_or(0, millis),
            course,
            late_intake: (clock.origin_source == Origin::Ingested && posted_at < clock.origin_at)
                .then_some((posted_at, clock.origin_at)),
        }
    }

    fn place(&self, case: &Case, mention: &MentionView) -> Place {
        let account = self.catalog.account(case.account).filter(|_| mention.addressed);
        Place {
            platform: platform(&mention.source).to_owned(),
            account: account.map(|account| account.handle.trim_start_matches('@').into()),
        }
    }

    /// What this person sees of a post.
    fn said(&self, post: &MentionView, f: &Frame) -> Said {
        f.said(&post.text, self.shown.contains(&post.id))
    }

    /// The reasons for a post's label, without the words of a masked one.
    pub(super) fn reasons(&self, post: &MentionView, f: &Frame) -> Vec<Reason> {
        why(&post.reasons, self.said(post, f).masked)
    }

    /// A row of a list.
    pub(super) fn row(&self, line: &QueueRow, f: &Frame) -> Row {
        let (case, mention) = (&line.case, &line.mention);
        let works = authorize(self.viewer, Action::Work, case.team).is_ok();
        let Said { text, masked } = match mention.deleted_at {
            Some(at) => Said { text: f.with(f.w.deleted, "time", f.time(at)), masked: false },
            None => self.said(mention, f),
        };
        Row {
            number: case.id.0,
            version: 0,
            clock: case.nearest_clock().map(|clock| self.clock(clock, case.status, mention.posted_at, f)),
            label: label(case),
            why: why(&mention.reasons, masked).into_iter().next(),
            handle: mention.handle.clone(),
            text,
            masked,
            lang: mention.lang,
            place: self.place(case, mention),
            reach: mention.reach,
            posted_at: mention.posted_at,
            day_only: mention.time_quality == TimeQuality::Day,
            owner: line.assignee.clone(),
            mine: case.assignee == Some(self.viewer.id),
            may_claim: works && case.assignee.is_none() && case.status.unfinished(),
            notes: case.notes,
            draft: line.draft,
            left: None,
        }
    }

    /// Rows in the three groups; they come in the queue's order.
    pub(super) fn groups(&self, lines: &[QueueRow], f: &Frame) -> Vec<Group> {
        let mut groups =
            [GroupKind::Crisis, GroupKind::ByTime, GroupKind::Overdue].map(|kind| Group { kind, rows: Vec::new() });
        for line in lines {
            let overdue = line.case.nearest_clock().is_some_and(|clock| clock.deadline_at <= f.now);
            let kind = match line.case.priority {
                Priority::Crisis => GroupKind::Crisis,
                _ if overdue => GroupKind::Overdue,
                _ => GroupKind::ByTime,
            };
            let row = self.row(line, f);
            groups.iter_mut().filter(|group| group.kind == kind).for_each(|group| group.rows.push(row.clone()));
        }
        groups.into_iter().filter(|group| !group.rows.is_empty()).collect()
    }

    /// Where a case can go: other teams of its brand, and for whoever may assign it the people of each.
    pub(super) fn receivers(&self, reader: &Reader<'_>, case: &Case, language: Language) -> Result<Vec<Receiver>, Fault> {
        let assigns = authorize(self.viewer, Action::Assign, case.team).is_ok();
        let mut receivers = Vec::new();
        for team in self.catalog.teams.iter().filter(|team| team.brand == case.brand) {
            let here = team.id == case.team;
            let mut people = if assigns { reader.colleagues(team.id)? } else { Vec::new() };
            people.retain(|(id, ..)| !here || case.assignee != Some(*id));
            if here && people.is_empty() {
                continue;
            }
            receivers.push(Receiver {
                team: Choice { value: team.key.clone(), name: team_name(team, language), chosen: here },
                people: (people.into_iter())
                    .map(|(_, initials, name)| Choice { name: format!("{initials} {name}"), value: initials, chosen: false })
                    .collect(),
            });
        }
        Ok(receivers)
    }

    /// The case's whole page.
    pub(super) fn case(&self, view: &CaseView, f: Frame, log_open: bool) -> CasePage {
        let case = &view.case;
        let works = authorize(self.viewer, Action::Work, case.team).is_ok();
        let latest = view.thread.iter().find(|post| post.id == case.latest_mention);
        let mine = case.assignee == Some(self.viewer.id);
        let team = self.catalog.team(case.team);
        let posted_at = latest.map_or(case.opened_at, |post| post.posted_at);
        let draft = |kind: &str| {
            let stored = view.drafts.iter().find(|(stored, ..)| stored == kind);
            stored.map(|(_, text, version)| (text.clone(), *version)).unwrap_or_default()
        };
        let unfinished = case.status.unfinished();
        CasePage {
            number: case.id.0,
            version: 0,
            status: case.status,
            label: label(case),
            reasons: latest.map(|post| self.reasons(post, &f)).unwrap_or_default(),
            team: team.map(|team| team_name(team, f.language)).unwrap_or_default(),
            queue: team.map_or_else(|| "/".into(), |team| format!("/queue/{}", team.key)),
            owner: view.assignee.clone(),
            mine,
            place: latest.map(|post| self.place(case, post)).unwrap_or_default(),
            transfers: u64::from(case.transfers),
            clocks: self.clocks(case, posted_at, log_open, &f),
            thread: self.thread(view, &f),
            answer: self.answer(case, works, latest),
            reply_draft: draft("reply"),
            note_draft: draft("note"),
            contact: contact(view, latest, &f),
            log: view.events.iter().map(|(event, by)| self.log_line(event, by.as_deref(), &f)).collect(),
            log_open,
            similar: None,
            may: May {
                claim: works && case.assignee.is_none() && unfinished,
                give_back: works && mine && unfinished,
                work: works,
            },
            presence: Vec::new(),
            caught: Vec::new(),
            unaddressed: false,
            receivers: Vec::new(),
            dispositions: (self.dispositions.iter())
                .map(|(key, ko, en)| Choice { value: key.clone(), name: named(f.language, ko, en).into(), chosen: false })
                .collect(),
            f,
        }
    }

    /// The nearest open one first; behind the open ones, where all are wanted, those that have ended.
    fn clocks(&self, case: &Case, posted_at: Time, all: bool, f: &Frame) -> Vec<ClockView> {
        let mut clocks: Vec<&SlaClock> = case.clocks.iter().filter(|clock| all || clock.state.open()).collect();
        clocks.sort_by_key(|clock| (!clock.state.open(), clock.deadline_at, clock.kind, clock.cycle));
        clocks.into_iter().map(|clock| self.clock(clock, case.status, posted_at, f)).collect()
    }

    fn answer(&self, case: &Case, works: bool, latest: Option<&MentionView>) -> Answer {
        if !works {
            return Answer::ReadOnly;
        }
        if latest.is_some_and(|post| post.deleted_at.is_some()) {
            return Answer::Gone;
        }
        let customer = format!("@{} ", latest.map_or("", |post| post.handle.as_str()));
        match self.catalog.account(case.account).filter(|account| account.capability.reply) {
            Some(account) => Answer::Reply {
                account: format!("@{}", account.handle.trim_start_matches('@')),
                signature: format!("^{}", self.viewer.initials),
                rule: length_rule(account.capability.length.as_ref(), &customer),
            },
            None => Answer::LinkOnly,
        }
    }

    fn thread(&self, view: &CaseView, f: &Frame) -> Vec<ThreadItem> {
        let opened = view.thread.iter().position(|post| post.id == view.case.mention).unwrap_or(0);
        let sent: Vec<&str> = view.replies.iter().filter_map(|(reply, _)| reply.url.as_deref()).collect();
        let mut items: Vec<(Time, ThreadItem)> = Vec::new();
        let mut masked = 0;
        for (index, post) in view.thread.iter().enumerate() {
            // What we sent comes back by our own timeline; it is shown once, as the reply.
            if post.side == Side::Ours && post.url.as_deref().is_some_and(|url| sent.contains(&url)) {
                continue;
            }
            let mut passage = passage(post, index < opened, self.said(post, f));
            masked += usize::from(passage.masked);
            passage.first_masked = passage.masked && masked == 1;
            items.push((post.posted_at, ThreadItem::Post(passage)));
        }
        for note in &view.notes {
            let note = ThreadItem::Note { id: note.id, by: note.initials.clone(), text: note.text.clone(), at: note.at };
            let at = if let ThreadItem::Note { at, .. } = &note { *at } else { Time::NEVER };
            items.push((at, note));
        }
        for (reply, by) in &view.replies {
            items.push((reply.created_at, ThreadItem::Reply(self.bubble(view, reply, by))));
        }
        items.sort_by_key(|(at, _)| *at);
        items.into_iter().map(|(_, item)| item).collect()
    }

    fn bubble(&self, view: &CaseView, reply: &Reply, by: &str) -> ReplyBubble {
        let queued = view.events.iter().rev().find(|(event, _)| {
            event.kind == EventKind::ReplyQueued && payload(event.payload.as_deref())["reply"].as_i64() == Some(reply.id.0)
        });
        let own = reply.agent == self.viewer.id && reply.state == ReplyState::Queued;
        ReplyBubble {
            id: reply.id.0,
            by: by.to_owned(),
            text: reply.text.clone(),
            at: reply.created_at,
            state: reply.state,
            due: reply.due_at,
            sent_at: reply.sent_at,
            reason: reply.reason.clone(),
            url: reply.url.clone(),
            undo: queued.filter(|_| own).map(|(event, _)| event.seq.0),
        }
    }

    fn log_line(&self, event: &crate::queue::Event, by: Option<&str>, f: &Frame) -> LogLine {
        let facts = payload(event.payload.as_deref());
        let team = |name: &str| {
            let team = facts[name].as_i64().and_then(|id| self.catalog.team(TeamId(id)));
            team.map(|team| team_name(team, f.language)).unwrap_or_default()
        };
        let word = |name: &str| facts[name].as_str().unwrap_or_default().to_owned();
        let sorted = |name: &str| f.w.label(Label::parse(&word(name)));
        let clock = || match Kind::parse(&word("clock")) {
            Some(Kind::Triage) => f.w.triage,
            Some(Kind::FirstResponse) => f.w.first_response,
            Some(Kind::NextResponse | Kind::Progress) => f.w.next_response,
            Some(Kind::Resolution | Kind::Promise) => f.w.resolution,
            None => "",
        };
        let detail = match event.kind {
            EventKind::HandedOver => format!("{} → {}", team("from"), team("to")),
            EventKind::Labelled => format!("{} → {}", sorted("from"), sorted("to")),
            EventKind::Resolved => self.disposition(&word("disposition"), f.language),
            EventKind::Waiting => Status::parse(&word("for")).map(|status| f.w.status(status).to_owned()).unwrap_or_default(),
            EventKind::Warned
            | EventKind::Breached
            | EventKind::BreachWithdrawn
            | EventKind::Met
            | EventKind::MetLate
            | EventKind::ClockCancelled => clock().to_owned(),
            _ => String::new(),
        };
        LogLine { at: event.at, kind: event.kind, by: by.map(str::to_owned), detail }
    }

    /// How a case ended, in words.
    pub(super) fn disposition(&self, key: &str, language: Language) -> String {
        let known = self.dispositions.iter().find(|(known, ..)| known == key);
        known.map_or_else(|| key.to_owned(), |(_, ko, en)| named(language, ko, en).to_owned())
    }
}

/// What an event tells beside its kind.
pub(super) fn payload(json: Option<&str>) -> serde_json::Value {
    json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

/// Reasons quote the post: those of a masked one are told without their words.
fn why(reasons: &[Reason], masked: bool) -> Vec<Reason> {
    let told = |reason: &Reason| Reason { words: if masked { String::new() } else { reason.words.clone() }, ..reason.clone() };
    reasons.iter().map(told).collect()
}

fn passage(post: &MentionView, before: bool, said: Said) -> Passage {
    Passage {
        id: post.id.0,
        handle: post.handle.clone(),
        text: said.text,
        masked: said.masked && post.deleted_at.is_none(),
        first_masked: false,
        lang: post.lang,
        at: post.posted_at,
        ours: post.side == Side::Ours,
        before,
        edited: post.edited_at.is_some(),
        deleted_at: post.deleted_at,
        url: post.url.clone(),
    }
}

fn contact(view: &CaseView, latest: Option<&MentionView>, f: &Frame) -> Contact {
    let earlier = |one: &EarlierCase| Earlier {
        number: one.id.0,
        status: Status::parse(&one.status).unwrap_or(Status::Closed),
        label: LabelView { label: Some(one.label), percent: None, doubtful: false },
        text: f.said(&one.text, false).text.chars().take(EARLIER).collect(),
        at: one.opened_at,
    };
    Contact {
        handle: latest.map(|post| post.handle.clone()).unwrap_or_default(),
        // Said once where it is no more than the handle.
        name: latest.and_then(|post| post.name.clone().filter(|name| *name != post.handle)),
        reach: latest.and_then(|post| post.reach),
        earlier: view.earlier.iter().map(earlier).collect(),
    }
}

/// The rule that the composer counts by; without a limit none is near.
/// The rule for what an agent types: the platform's, less the customer's handle that goes in front.
fn length_rule(rule: Option<&text::LengthRule>, front: &str) -> views::LengthRule {
    let Some(rule) = rule else {
        return views::LengthRule { unit: "graphemes", max: 100_000, url: None, light: String::new() };
    };
    views::LengthRule {
        unit: match rule.unit {
            text::Unit::Characters => "characters",
            text::Unit::Graphemes => "graphemes",
            text::Unit::Bytes => "bytes",
            text::Unit::Weighted => "weighted",
        },
        max: u32::try_from(rule.left(front)).unwrap_or(0),
        url: rule.url.and_then(|weight| u32::try_from(weight).ok()),
        light: rule.light.iter().map(|(from, to)| format!("{from}-{to}")).collect::<Vec<_>>().join(","),
    }
}

/// The clock of the nearest deadline; one of the rows has it, unless it is beyond those shown.
pub(super) fn next_clock(due: Option<Time>, groups: &[Group], f: &Frame) -> Option<ClockView> {
    let due = due?;
    let clocks = groups.iter().flat_map(|group| &group.rows).filter_map(|row| row.clock.as_ref());
    let by_due: HashMap<i64, &ClockView> = clocks.map(|clock| (clock.due.0, clock)).collect();
    let found = by_due.get(&due.0).map(|clock| (*clock).clone());
    Some(found.unwrap_or_else(|| ClockView { due, target_ms: due.0 - f.now.0, ..ClockView::default() }))
}

/// Why a row is no longer in the list that it was in.
pub(super) fn left(line: &QueueRow, catalog: &Catalog, team: Option<TeamId>, language: Language) -> views::Left {
    let owner = line.assignee.clone().unwrap_or_default();
    if team.is_some_and(|team| team != line.case.team) {
        let name = catalog.team(line.case.team).map(|team| team_name(team, language)).unwrap_or_default();
        return views::Left::MovedTo(name);
    }
    if !line.case.status.unfinished() {
        return views::Left::ResolvedBy(owner);
    }
    match line.assignee {
        Some(_) => views::Left::ClaimedBy(owner),
        None => views::Left::Otherwise,
    }
}

/// Two letters or more for the account of a filter.
pub(super) fn handle(handle: &str) -> String {
    format!("@{}", format::tame(handle.trim_start_matches('@')))
}
