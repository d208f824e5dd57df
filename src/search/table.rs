//! What is known of each mention while people work on it: a compact table, asked at query time.
//!
//! Mentions are numbered one after the other, so rows stand by number in pages. A query takes a copy of the
//! table, which shares the pages; who writes meanwhile copies the one page that it changes.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
    time::Duration,
};

use super::{Facts, Names, Scope};
use crate::{
    case::{CaseId, Status},
    mention::{Label, MentionId},
    query::{Has, Sla},
    staff::{AgentId, TeamId},
};

/// Row ids are spread well enough by one multiplication.
#[derive(Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_i64(i64::from(*byte)));
    }

    fn write_i64(&mut self, id: i64) {
        self.0 = (self.0 ^ id.cast_unsigned()).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

type ById<T> = HashMap<MentionId, T, BuildHasherDefault<IdHasher>>;

/// A condition on a case.
#[derive(Clone, Copy, Debug)]
pub(super) enum CaseIs {
    /// `None` for what nobody has sorted.
    Label(Option<Label>),
    /// `None` for a team that does not exist.
    Team(Option<TeamId>),
    Agent(Option<AgentId>),
    Status(Status),
    Sla(Sla),
    Has(Has),
    /// Number of the disposition in the table; `None` for one that no case has.
    Disposition(Option<u8>),
    /// Whole seconds to the first answer, both included.
    Answered(u64, u64),
    Incident(u32),
}

const NONE: u32 = u32::MAX;
const NO_SMALL: u16 = u16::MAX;
const NO_BYTE: u8 = u8::MAX;

/// [`Facts`] in 24 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    case: i64,
    agent: u32,
    /// Seconds from the post to the first answer.
    answered: u32,
    team: u16,
    brand: u16,
    /// Index in [`Label::ALL`] and [`Status::ALL`].
    label: u8,
    status: u8,
    /// Index in the table's dispositions.
    disposition: u8,
    flags: u8,
}

const BREACHED: u8 = 1;
const MET: u8 = 2;
const REPLIED: u8 = 4;
const NOTED: u8 = 8;
const MEDIA: u8 = 16;
const CASE: u8 = 32;
/// Somebody wrote the row.
const KNOWN: u8 = 64;
/// It belongs to an incident, which one is known beside the rows.
const INCIDENT: u8 = 128;

/// Nothing is known.
const NOTHING: Row = Row {
    case: 0,
    agent: NONE,
    answered: NONE,
    team: NO_SMALL,
    brand: NO_SMALL,
    label: NO_BYTE,
    status: NO_BYTE,
    disposition: NO_BYTE,
    flags: 0,
};

/// Teams and brands are named in the configuration: there are no 65,535.
fn small(id: i64) -> u16 {
    u16::try_from(id).unwrap_or(NO_SMALL)
}

fn index<T: PartialEq>(all: &[T], one: Option<T>) -> u8 {
    let index = one.and_then(|one| all.iter().position(|other| *other == one));
    index.and_then(|index| u8::try_from(index).ok()).unwrap_or(NO_BYTE)
}

impl Row {
    fn new(facts: &Facts, disposition: u8) -> Row {
        let flags = [
            (facts.breached, BREACHED),
            (facts.met, MET),
            (facts.replied, REPLIED),
            (facts.noted, NOTED),
            (facts.media, MEDIA),
            (facts.case.is_some(), CASE),
            (facts.incident.is_some(), INCIDENT),
            (true, KNOWN),
        ];
        let seconds = |span: Duration| u32::try_from(span.as_secs()).unwrap_or(NONE - 1);
        Row {
            case: facts.case.map_or(0, |case| case.0),
            agent: facts.assignee.and_then(|agent| u32::try_from(agent.0).ok()).unwrap_or(NONE),
            answered: facts.answered.map_or(NONE, seconds),
            team: facts.team.map_or(NO_SMALL, |team| small(team.0)),
            brand: small(i64::from(facts.brand)),
            label: index(&Label::ALL, facts.label),
            status: index(&Status::ALL, facts.status),
            disposition,
            flags: flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum(),
        }
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn case(&self) -> Option<CaseId> {
        self.has(CASE).then_some(CaseId(self.case))
    }

    pub(super) fn team(&self) -> Option<TeamId> {
        (self.team != NO_SMALL).then(|| TeamId(i64::from(self.team)))
    }

    pub(super) fn label(&self) -> Option<Label> {
        Label::ALL.get(usize::from(self.label)).copied()
    }

    pub(super) fn status(&self) -> Option<Status> {
        Status::ALL.get(usize::from(self.status)).copied()
    }

    /// The number of its disposition in the table.
    pub(super) fn disposition(&self) -> Option<u8> {
        (self.disposition != NO_BYTE).then_some(self.disposition)
    }

    pub(super) fn sla(&self) -> Option<Sla> {
        if self.has(BREACHED) { Some(Sla::Breached) } else { self.has(MET).then_some(Sla::Met) }
    }

    fn is(&self, condition: CaseIs, incident: impl FnOnce() -> Option<u32>) -> bool {
        match condition {
            CaseIs::Label(label) => self.has(CASE) && self.label() == label,
            CaseIs::Team(team) => team.is_some() && self.team() == team,
            CaseIs::Agent(agent) => agent.is_some_and(|agent| self.agent != NONE && i64::from(self.agent) == agent.0),
            CaseIs::Status(status) => self.status() == Some(status),
            CaseIs::Sla(sla) => self.sla() == Some(sla),
            CaseIs::Has(Has::Reply) => self.has(REPLIED),
            CaseIs::Has(Has::Note) => self.has(NOTED),
            CaseIs::Has(Has::Media) => self.has(MEDIA),
            CaseIs::Disposition(wanted) => wanted.is_some() && self.disposition() == wanted,
            CaseIs::Answered(from, to) => self.answered != NONE && (from..=to).contains(&u64::from(self.answered)),
            CaseIs::Incident(number) => self.has(INCIDENT) && incident() == Some(number),
        }
    }

    /// A case is its team's; a post without one is its brand's. Whatever else is nobody's.
    fn visible(&self, scope: &Scope) -> bool {
        match self.team() {
            Some(team) => scope.teams.contains(&team),
            None => self.has(KNOWN) && !self.has(CASE) && scope.brands.contains(&u32::from(self.brand)),
        }
    }
}

/// Rows of a page.
const PAGE: usize = 4_096;
/// Pages by number; beyond them a row stands by itself, so that no id can ask for all memory.
const PAGES: usize = 1 << 18;

/// All rows; a mention has one for each brand that it concerns.
#[derive(Clone, Default)]
pub(super) struct Table {
    pages: Vec<Option<Arc<Vec<Row>>>>,
    /// Rows whose number fits no page.
    far: Arc<ById<Row>>,
    /// Rows of further brands, which few mentions have.
    more: Arc<ById<Vec<Row>>>,
    /// Mention and brand of the few in an incident.
    incidents: Arc<HashMap<(MentionId, u16), u32>>,
    /// How cases ended, by number.
    dispositions: Arc<Vec<String>>,
    pub(super) names: Arc<Names>,
}

fn place(mention: MentionId) -> Option<(usize, usize)> {
    let id = usize::try_from(mention.0).ok()?;
    (id / PAGE < PAGES).then_some((id / PAGE, id % PAGE))
}

impl Table {
    pub(super) fn set(&mut self, facts: &Facts) {
        let (mention, row) = (facts.mention, Row::new(facts, self.disposition_number(facts.disposition.as_deref())));
        match facts.incident {
            Some(number) => drop(Arc::make_mut(&mut self.incidents).insert((mention, row.brand), number)),
            None if self.incidents.contains_key(&(mention, row.brand)) => {
                Arc::make_mut(&mut self.incidents).remove(&(mention, row.brand));
            }
            None => {}
        }
        let first = self.first_mut(mention);
        if !first.has(KNOWN) || first.brand == row.brand {
            *first = row;
            return;
        }
        let more = Arc::make_mut(&mut self.more).entry(mention).or_default();
        match more.iter_mut().find(|other| other.brand == row.brand) {
            Some(old) => *old = row,
            None => more.push(row),
        }
    }

    fn first_mut(&mut self, mention: MentionId) -> &mut Row {
        let Some((page, at)) = place(mention) else {
            return Arc::make_mut(&mut self.far).entry(mention).or_insert(NOTHING);
        };
        if self.pages.len() <= page {
            self.pages.resize(page + 1, None);
        }
        let rows = Arc::make_mut(self.pages[page].get_or_insert_with(|| Arc::new(vec![NOTHING; PAGE])));
        &mut rows[at]
    }

    fn first(&self, mention: MentionId) -> Option<&Row> {
        match place(mention) {
            Some((page, at)) => self.pages.get(page)?.as_ref()?.get(at),
            None => self.far.get(&mention),
        }
    }

    /// The number of a disposition, which it gets here; beyond 254 of them one is not remembered.
    fn disposition_number(&mut self, key: Option<&str>) -> u8 {
        let Some(key) = key else { return NO_BYTE };
        let number = match self.dispositions.iter().position(|other| other == key) {
            Some(known) => known,
            None if self.dispositions.len() >= usize::from(NO_BYTE) => return NO_BYTE,
            None => {
                Arc::make_mut(&mut self.dispositions).push(key.to_owned());
                self.dispositions.len() - 1
            }
        };
        u8::try_from(number).unwrap_or(NO_BYTE)
    }

    pub(super) fn remove(&mut self, mention: MentionId) {
        *self.first_mut(mention) = NOTHING;
        if self.more.contains_key(&mention) {
            Arc::make_mut(&mut self.more).remove(&mention);
        }
        if !self.incidents.is_empty() {
            Arc::make_mut(&mut self.incidents).retain(|(other, _), _| *other != mention);
        }
    }

    /// The rows of a mention that `scope` may see.
    pub(super) fn visible(&self, mention: MentionId, scope: &Scope) -> impl Iterator<Item = &Row> {
        let more = if self.more.is_empty() { None } else { self.more.get(&mention) };
        self.first(mention).into_iter().chain(more.into_iter().flatten()).filter(|row| row.visible(scope))
    }

    pub(super) fn team(&self, key: &str) -> Option<TeamId> {
        self.names.teams.iter().find(|(_, name)| name.to_lowercase() == key).map(|(team, _)| *team)
    }

    pub(super) fn agent(&self, initials: &str) -> Option<AgentId> {
        self.names.agents.iter().find(|(_, name)| name.to_lowercase() == initials).map(|(agent, _)| *agent)
    }

    /// The number of the disposition whose key is `key` in small letters.
    pub(super) fn disposition(&self, key: &str) -> Option<u8> {
        let at = self.dispositions.iter().position(|known| known.to_lowercase() == key)?;
        u8::try_from(at).ok()
    }

    /// Keys of dispositions, by number.
    pub(super) fn dispositions(&self) -> &[String] {
        &self.dispositions
    }
}

/// A condition as one query asks it: of rows that the asker may see, at one moment.
pub(super) struct Case {
    pub(super) is: CaseIs,
    pub(super) table: Table,
    pub(super) scope: Scope,
}

impl Case {
    pub(super) fn holds(&self, mention: MentionId) -> bool {
        let incident = |row: &Row| self.table.incidents.get(&(mention, row.brand)).copied();
        self.table.visible(mention, &self.scope).any(|row| row.is(self.is, || incident(row)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(mention: i64, brand: u32, team: Option<i64>) -> Facts {
        let case = team.map(|_| CaseId(mention * 10));
        Facts { case, team: team.map(TeamId), ..Facts::new(MentionId(mention), brand) }
    }

    #[test]
    fn a_case_is_its_teams_and_a_folded_post_its_brands() {
        let mut table = Table::default();
        table.set(&facts(1, 7, Some(1)));
        table.set(&facts(1, 8, Some(2)));
        table.set(&facts(2, 7, None));
        table.set(&Facts { case: Some(CaseId(30)), ..facts(3, 7, None) });
        let seen = |mention, teams: &[i64], brands: &[u32]| {
            let scope = Scope { teams: teams.iter().copied().map(TeamId).collect(), brands: brands.to_vec() };
            table.visible(MentionId(mention), &scope).map(|row| row.brand).collect::<Vec<_>>()
        };
        assert_eq!(seen(1, &[1], &[]), [7]);
        assert_eq!(seen(1, &[2], &[7]), [8]);
        assert_eq!(seen(1, &[1, 2], &[]), [7, 8]);
        assert_eq!(seen(1, &[], &[7, 8]), [0; 0]);
        assert_eq!(seen(2, &[1], &[]), [0; 0]);
        assert_eq!(seen(2, &[], &[7]), [7]);
        assert_eq!(seen(3, &[1, 2], &[7]), [0; 0], "a case without a team is nobody's");
        assert_eq!(seen(4, &[1, 2], &[7, 8]), [0; 0]);
    }

    #[test]
    fn the_newest_facts_count() {
        let mut table = Table::default();
        table.set(&facts(1, 7, Some(1)));
        table.set(&Facts { status: Some(Status::Resolved), breached: true, met: true, ..facts(1, 7, Some(2)) });
        let scope = Scope { teams: vec![TeamId(2)], brands: vec![] };
        let is = |is| Case { is, table: table.clone(), scope: scope.clone() }.holds(MentionId(1));
        assert!(is(CaseIs::Status(Status::Resolved)) && is(CaseIs::Sla(Sla::Breached)));
        assert!(!is(CaseIs::Sla(Sla::Met)), "met and breached is breached");
        assert!(!is(CaseIs::Team(None)) && !is(CaseIs::Agent(None)) && !is(CaseIs::Disposition(None)));
        assert_eq!(table.visible(MentionId(1), &scope).next().unwrap().case(), Some(CaseId(10)));
        table.remove(MentionId(1));
        assert_eq!(table.visible(MentionId(1), &scope).count(), 0);
    }

    #[test]
    fn a_row_stays_small() {
        assert_eq!(size_of::<Row>(), 24);
    }

    #[test]
    fn a_copy_keeps_its_moment_and_odd_numbers_have_a_place() {
        let mut table = Table::default();
        let odd = [0, 1, 4_095, 4_096, 1_000_000, i64::MAX, -5];
        let set = |table: &mut Table, status| {
            for mention in odd {
                table.set(&Facts { mention: MentionId(mention), status: Some(status), ..facts(1, 7, Some(1)) });
            }
        };
        set(&mut table, Status::New);
        let before = table.clone();
        set(&mut table, Status::Closed);
        let scope = Scope { teams: vec![TeamId(1)], brands: vec![] };
        for mention in odd.map(MentionId) {
            let status = |table: &Table| table.visible(mention, &scope).next().unwrap().status();
            assert_eq!((status(&before), status(&table)), (Some(Status::New), Some(Status::Closed)), "{mention:?}");
        }
        assert_eq!(table.visible(MentionId(2), &scope).count(), 0);
    }

    #[test]
    fn how_it_ended_and_how_soon_it_was_answered_are_asked_by_name_and_span() {
        let mut table = Table::default();
        let scope = Scope { teams: vec![TeamId(1)], brands: vec![] };
        for (mention, key, seconds) in [(1, "Refund", Some(719)), (2, "answered", Some(720)), (3, "Refund", None)] {
            let disposition = Some(key.to_owned());
            table.set(&Facts { disposition, answered: seconds.map(Duration::from_secs), ..facts(mention, 7, Some(1)) });
        }
        table.set(&Facts { incident: Some(31), ..facts(4, 7, Some(1)) });
        let that = |is| {
            let case = Case { is, table: table.clone(), scope: scope.clone() };
            (1..5).filter(|mention| case.holds(MentionId(*mention))).collect::<Vec<_>>()
        };
        assert_eq!(that(CaseIs::Disposition(table.disposition("refund"))), [1, 3]);
        assert_eq!(that(CaseIs::Disposition(table.disposition("nothing"))), [0; 0]);
        assert_eq!(that(CaseIs::Answered(0, 719)), [1]);
        assert_eq!(that(CaseIs::Answered(720, u64::MAX)), [2]);
        assert_eq!((that(CaseIs::Incident(31)), that(CaseIs::Incident(1))), (vec![4], vec![]));
        table.set(&facts(4, 7, Some(1)));
        let gone = Case { is: CaseIs::Incident(31), table: table.clone(), scope: scope.clone() };
        assert!(!gone.holds(MentionId(4)));
        let many: Vec<u8> = (0..400).map(|number| table.disposition_number(Some(&number.to_string()))).collect();
        assert!(many[..250].is_sorted() && many[300..].iter().all(|number| *number == NO_BYTE));
    }
}
