//! What is known of each mention while people work on it: a compact table, asked at query time.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
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
    Label(Label),
    /// `None` for a team that does not exist.
    Team(Option<TeamId>),
    Agent(Option<AgentId>),
    Status(Status),
    Sla(Sla),
    Has(Has),
}

const NONE: u32 = u32::MAX;

/// [`Facts`] in 24 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    case: i64,
    team: u32,
    agent: u32,
    brand: u32,
    /// Index in [`Label::ALL`] and [`Status::ALL`].
    label: u8,
    status: u8,
    flags: u8,
}

const BREACHED: u8 = 1;
const MET: u8 = 2;
const REPLIED: u8 = 4;
const NOTED: u8 = 8;
const MEDIA: u8 = 16;
const CASE: u8 = 32;

fn small(id: Option<i64>) -> u32 {
    id.and_then(|id| u32::try_from(id).ok()).unwrap_or(NONE)
}

fn index<T: PartialEq>(all: &[T], one: Option<T>) -> u8 {
    let index = one.and_then(|one| all.iter().position(|other| *other == one));
    index.and_then(|index| u8::try_from(index).ok()).unwrap_or(u8::MAX)
}

impl Row {
    fn new(facts: &Facts) -> Row {
        let flags = [
            (facts.breached, BREACHED),
            (facts.met, MET),
            (facts.replied, REPLIED),
            (facts.noted, NOTED),
            (facts.media, MEDIA),
            (facts.case.is_some(), CASE),
        ];
        Row {
            case: facts.case.map_or(0, |case| case.0),
            team: small(facts.team.map(|team| team.0)),
            agent: small(facts.assignee.map(|agent| agent.0)),
            brand: facts.brand,
            label: index(&Label::ALL, facts.label),
            status: index(&Status::ALL, facts.status),
            flags: flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum(),
        }
    }

    pub(super) fn case(&self) -> Option<CaseId> {
        (self.flags & CASE != 0).then_some(CaseId(self.case))
    }

    pub(super) fn team(&self) -> Option<TeamId> {
        (self.team != NONE).then(|| TeamId(i64::from(self.team)))
    }

    pub(super) fn label(&self) -> Option<Label> {
        Label::ALL.get(usize::from(self.label)).copied()
    }

    pub(super) fn status(&self) -> Option<Status> {
        Status::ALL.get(usize::from(self.status)).copied()
    }

    pub(super) fn is(&self, condition: CaseIs) -> bool {
        let has = |flag| self.flags & flag != 0;
        match condition {
            CaseIs::Label(label) => self.label() == Some(label),
            CaseIs::Team(team) => team.is_some() && self.team() == team,
            CaseIs::Agent(agent) => agent.is_some_and(|agent| self.agent != NONE && i64::from(self.agent) == agent.0),
            CaseIs::Status(status) => self.status() == Some(status),
            CaseIs::Sla(Sla::Breached) => has(BREACHED),
            CaseIs::Sla(Sla::Met) => has(MET) && !has(BREACHED),
            CaseIs::Has(Has::Reply) => has(REPLIED),
            CaseIs::Has(Has::Note) => has(NOTED),
            CaseIs::Has(Has::Media) => has(MEDIA),
        }
    }

    /// A case is its team's; a post without one is its brand's. Whatever else is nobody's.
    fn visible(&self, scope: &Scope) -> bool {
        match self.team() {
            Some(team) => scope.teams.contains(&team),
            None => self.flags & CASE == 0 && scope.brands.contains(&self.brand),
        }
    }
}

/// All rows; a mention has one for each brand that it concerns.
#[derive(Default)]
pub(super) struct Table {
    rows: ById<Row>,
    /// Rows of further brands, which few mentions have.
    more: ById<Vec<Row>>,
    pub(super) names: Names,
}

impl Table {
    pub(super) fn set(&mut self, facts: &Facts) {
        let (mention, row) = (facts.mention, Row::new(facts));
        let first = self.rows.entry(mention).or_insert(row);
        if first.brand == row.brand {
            *first = row;
            return;
        }
        let more = self.more.entry(mention).or_default();
        match more.iter_mut().find(|other| other.brand == row.brand) {
            Some(old) => *old = row,
            None => more.push(row),
        }
    }

    pub(super) fn remove(&mut self, mention: MentionId) {
        self.rows.remove(&mention);
        self.more.remove(&mention);
    }

    /// The rows of a mention that `scope` may see.
    pub(super) fn visible(&self, mention: MentionId, scope: &Scope) -> impl Iterator<Item = &Row> {
        let more = if self.more.is_empty() { None } else { self.more.get(&mention) };
        let rows = self.rows.get(&mention).into_iter().chain(more.into_iter().flatten());
        rows.filter(|row| row.visible(scope))
    }

    /// The mentions with a visible row that meets `condition`.
    pub(super) fn mentions_that(&self, condition: CaseIs, scope: &Scope) -> Mentions {
        let rows = self.rows.iter().chain(self.more.iter().flat_map(|(id, rows)| rows.iter().map(move |row| (id, row))));
        Mentions(rows.filter(|(_, row)| row.visible(scope) && row.is(condition)).map(|(mention, _)| (*mention, ())).collect())
    }

    pub(super) fn team(&self, key: &str) -> Option<TeamId> {
        self.names.teams.iter().find(|(_, name)| name.to_lowercase() == key).map(|(team, _)| *team)
    }

    pub(super) fn agent(&self, initials: &str) -> Option<AgentId> {
        self.names.agents.iter().find(|(_, name)| name.to_lowercase() == initials).map(|(agent, _)| *agent)
    }
}

/// A set of mentions.
pub(super) struct Mentions(ById<()>);

impl Mentions {
    pub(super) fn contains(&self, mention: MentionId) -> bool {
        self.0.contains_key(&mention)
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
        let row = table.visible(MentionId(1), &scope).next().unwrap();
        assert!(row.is(CaseIs::Status(Status::Resolved)) && row.is(CaseIs::Sla(Sla::Breached)));
        assert!(!row.is(CaseIs::Sla(Sla::Met)), "met and breached is breached");
        assert!(!row.is(CaseIs::Team(None)) && !row.is(CaseIs::Agent(None)));
        assert_eq!(row.case(), Some(CaseId(10)));
        table.remove(MentionId(1));
        assert_eq!(table.visible(MentionId(1), &scope).count(), 0);
    }

    #[test]
    fn a_row_stays_small() {
        assert_eq!(size_of::<Row>(), 24);
    }
}
