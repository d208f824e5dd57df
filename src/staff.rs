//! Who works here, and the one [`authorize`] that every command and page passes.

use serde::{Deserialize, Serialize};

/// Row id of an agent; every person who signs in is one, whatever their role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AgentId(pub i64);

/// Row id of a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TeamId(pub i64);

/// What a person is within a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Searches and reads.
    Marketer,
    /// Watches and configures; reads cases.
    Operator,
    /// Takes cases and answers.
    Agent,
    /// An agent who also assigns.
    Lead,
    /// Watches the triage queue over teams.
    Manager,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 5] = [Role::Marketer, Role::Operator, Role::Agent, Role::Lead, Role::Manager];

    /// The word for it in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Marketer => "marketer",
            Role::Operator => "operator",
            Role::Agent => "agent",
            Role::Lead => "lead",
            Role::Manager => "manager",
        }
    }

    /// The role whose word is `word`.
    pub fn parse(word: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

/// A signed-in person, with what they are in each of their teams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// Who.
    pub id: AgentId,
    /// Two letters that sign replies: `KG`.
    pub initials: String,
    /// Name as colleagues see it.
    pub name: String,
    /// Teams, with the role in each.
    pub teams: Vec<(TeamId, Role)>,
}

impl Viewer {
    /// The teams whose cases this person may see.
    pub fn visible_teams(&self) -> Vec<TeamId> {
        self.teams.iter().map(|(team, _)| *team).collect()
    }
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// See a team's queue, a case, a search result.
    Read,
    /// Claim, label, reply, note, hand over, resolve.
    Work,
    /// Give a case to somebody else by name.
    Assign,
    /// Decide which corrections the classifier learns from.
    Review,
    /// See the service's figures, reindex, publish rules.
    Operate,
    /// See how sources fare, pause them, say what is listened for.
    Listen,
}

/// The answer "no": what role would have been needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this needs the {} role", needs.as_str())]
pub struct Denied {
    /// The least role that may do it.
    pub needs: Role,
}

/// May `viewer` do `action` on something that belongs to `team`?
///
/// Deny by default: whoever is not in the team may do nothing there.
///
/// # Errors
/// [`Denied`] with the role that would be needed.
pub fn authorize(viewer: &Viewer, action: Action, team: TeamId) -> Result<(), Denied> {
    let (needs, allowed): (Role, &[Role]) = match action {
        Action::Read => (Role::Marketer, &Role::ALL),
        Action::Work => (Role::Agent, &[Role::Agent, Role::Lead, Role::Manager]),
        Action::Assign | Action::Review => (Role::Lead, &[Role::Lead, Role::Manager]),
        Action::Operate => (Role::Operator, &[Role::Operator]),
        Action::Listen => (Role::Manager, &[Role::Operator, Role::Manager]),
    };
    let holds = viewer.teams.iter().any(|(member_of, role)| *member_of == team && allowed.contains(role));
    if holds { Ok(()) } else { Err(Denied { needs }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_acts_outside_their_teams_or_above_their_role() {
        let person = |role| Viewer { id: AgentId(1), initials: "KG".into(), name: "K".into(), teams: vec![(TeamId(1), role)] };
        let allowed = |role, action, team| authorize(&person(role), action, TeamId(team)).is_ok();
        let expected = [
            (Role::Marketer, [true, false, false, false, false, false]),
            (Role::Operator, [true, false, false, false, true, true]),
            (Role::Agent, [true, true, false, false, false, false]),
            (Role::Lead, [true, true, true, true, false, false]),
            (Role::Manager, [true, true, true, true, false, true]),
        ];
        const ACTIONS: [Action; 6] =
            [Action::Read, Action::Work, Action::Assign, Action::Review, Action::Operate, Action::Listen];
        for (role, answers) in expected {
            for (action, answer) in ACTIONS.into_iter().zip(answers) {
                assert_eq!(allowed(role, action, 1), answer, "{role:?} {action:?}");
                assert!(!allowed(role, action, 2), "{role:?} {action:?} in another team");
            }
        }
    }
}
