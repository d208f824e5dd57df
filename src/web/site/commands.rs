//! What a person does with a case: one command of the desk each, whether a form or JSON asks for it.

use std::sync::Arc;

use askama::Template;
use axum::{
    Form,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    Console,
    fault::Fault,
    fill::{left, payload},
    flash::{self, Did, Done},
    html,
    live::CasePush,
    pages::{Desktop, number_of},
    room::Room,
    say,
    session::Visit,
};
use crate::{
    case::{Actor, CaseId, EventKind, ReplyId},
    clock::Time,
    desk::{HandOver, LabelBefore, NewReply, day_of},
    mention::{Label, MentionId},
    queue::{Owner, QueueFilter},
    sla::PauseReason,
    staff::{Action, AgentId, Viewer, authorize},
    web::views::{Flash, RowPush},
};

/// Cases tried by "claim next" before it gives up: so many colleagues may be faster.
const TRIES: u32 = 8;
/// Cases looked through by "claim next" for who is sent no more abuse.
const PASSED_OVER: u32 = 200;

/// The fields of every command's form and JSON; each reads its own.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Fields {
    csrf: String,
    version: Option<i64>,
    label: Option<String>,
    /// Where a form hands a case over to: `team`, or `team/initials`.
    to: Option<String>,
    team: Option<String>,
    agent: Option<String>,
    reason: Option<String>,
    /// Of a reply or a note.
    pub text: Option<String>,
    /// Send although a colleague has just answered.
    despite_colleague: Option<String>,
    reply: Option<i64>,
    event: Option<i64>,
    /// The masked post that somebody asks to see.
    post: Option<i64>,
    disposition: Option<String>,
    r#for: Option<String>,
}

/// What became of a command.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// For the toast.
    pub done: Done,
    /// Of a reply: its place in the outbox, and when it leaves.
    pub reply: Option<(ReplyId, Time)>,
    /// Of a reply that was taken back: its text.
    pub text: Option<String>,
}

/// Something that must be there.
fn needed(value: Option<String>) -> Result<String, Fault> {
    value.filter(|value| !value.trim().is_empty()).ok_or(Fault::Empty)
}

impl Console {
    /// Runs the command called `name` on a case.
    pub(super) async fn command(&self, viewer: &Viewer, number: i64, name: &str, fields: Fields) -> Result<Outcome, Fault> {
        let (desk, id) = (&self.site.desk, CaseId(number));
        let (mut reply, mut text) = (None, None);
        // A case that must not be seen must not be told from none by a wrong field either.
        desk.look(viewer, id).await?;
        let (did, undoable) = match name {
            "claim" => {
                desk.claim(viewer, id).await?;
                (Did::Claim, Some(EventKind::Claimed))
            }
            "give-back" => {
                desk.give_back(viewer, id).await?;
                (Did::GiveBack, Some(EventKind::GivenBack))
            }
            "label" => {
                let word = needed(fields.label)?;
                desk.set_label(viewer, id, Label::parse(&word).ok_or(Fault::Unknown(word))?).await?;
                (Did::Label, Some(EventKind::Labelled))
            }
            "handover" => {
                let to = self.hand_over(fields).await?;
                desk.hand_over(viewer, id, to).await?;
                (Did::HandOver, None)
            }
            "note" => {
                desk.note(viewer, id, needed(fields.text)?).await?;
                (Did::Note, None)
            }
            "reply" => {
                let despite_colleague = fields.despite_colleague.is_some_and(|word| word != "false");
                let answer = desk.reply(viewer, id, NewReply { text: needed(fields.text)?, despite_colleague }).await?;
                reply = Some((answer.id, answer.due_at));
                (Did::Reply, Some(EventKind::ReplyQueued))
            }
            "undo" => {
                text = self.undo(viewer, id, fields.event, fields.reply).await?;
                (Did::Undo, None)
            }
            "retry" => {
                let stored = fields.reply.ok_or(Fault::Empty)?;
                desk.retry_reply(viewer, id, ReplyId(stored)).await?;
                (Did::Retry, None)
            }
            "send" => {
                desk.send_parked(viewer, id, ReplyId(fields.reply.ok_or(Fault::Empty)?)).await?;
                (Did::Send, None)
            }
            "discard" => {
                desk.discard_reply(viewer, id, ReplyId(fields.reply.ok_or(Fault::Empty)?)).await?;
                (Did::Discard, None)
            }
            "answered" => {
                desk.answered_there(viewer, id).await?;
                (Did::Answered, None)
            }
            "wait" => {
                let word = needed(fields.r#for)?;
                let reason = match word.as_str() {
                    "customer" => PauseReason::WaitingCustomer,
                    "third_party" => PauseReason::WaitingThirdParty,
                    _ => return Err(Fault::Unknown(word)),
                };
                desk.wait_for(viewer, id, reason).await?;
                (Did::Wait, None)
            }
            "reveal" => {
                desk.reveal(viewer, id, MentionId(fields.post.ok_or(Fault::Empty)?)).await?;
                (Did::Reveal, None)
            }
            "go-on" => {
                desk.go_on(viewer, id).await?;
                (Did::GoOn, None)
            }
            "resolve" => {
                let key = needed(fields.disposition)?;
                if !self.site.config.dispositions.iter().any(|(known, ..)| *known == key) {
                    return Err(Fault::Unknown(key));
                }
                desk.resolve(viewer, id, key).await?;
                (Did::Resolve, None)
            }
            _ => return Err(Fault::NoPage),
        };
        let undo = match undoable {
            Some(kind) => self.own_event(viewer, id, kind).await?,
            None => None,
        };
        Ok(Outcome { done: Done { did, case: number, undo }, reply, text })
    }

    async fn hand_over(&self, fields: Fields) -> Result<HandOver, Fault> {
        let (team, agent) = match fields.to.as_deref().map(|to| to.split_once('/').unwrap_or((to, ""))) {
            Some((team, agent)) => (Some(team.to_owned()), Some(agent.to_owned())),
            None => (fields.team, fields.agent),
        };
        let (team, reason) = (needed(team)?, needed(fields.reason)?);
        let agent = agent.filter(|agent| !agent.is_empty());
        self.read(move |reader| {
            let team = reader.catalog.team_by_key(&team).ok_or(Fault::Unknown(team))?.id;
            let agent = match agent {
                Some(initials) => Some(reader.agent_by_initials(&initials)?.ok_or(Fault::Unknown(initials))?),
                None => None,
            };
            Ok(HandOver { team, agent, reason })
        })
        .await
    }

    /// The newest event of a kind that this person caused in a case.
    async fn own_event(&self, viewer: &Viewer, id: CaseId, kind: EventKind) -> Result<Option<i64>, Fault> {
        let me = Actor::Agent(viewer.id);
        self.read(move |reader| {
            let events = reader.case_events(id)?;
            Ok(events.iter().rev().find(|event| event.kind == kind && event.actor == me).map(|event| event.seq.0))
        })
        .await
    }

    /// Undoes one's own event by its opposite, which is a new event; a reply gives its text back.
    async fn undo(&self, viewer: &Viewer, id: CaseId, event: Option<i64>, reply: Option<i64>) -> Result<Option<String>, Fault> {
        let desk = &self.site.desk;
        if let Some(reply) = reply {
            return Ok(Some(desk.undo_reply(viewer, id, ReplyId(reply)).await?));
        }
        let seq = event.ok_or(Fault::Empty)?;
        let event = self
            .read(move |reader| Ok(reader.case_events(id)?.into_iter().find(|event| event.seq.0 == seq)))
            .await?
            .filter(|event| event.actor == Actor::Agent(viewer.id))
            .ok_or(Fault::TooLate)?;
        let facts = payload(event.payload.as_deref());
        match event.kind {
            EventKind::Claimed => desk.give_back(viewer, id).await?,
            EventKind::GivenBack => desk.claim(viewer, id).await?,
            EventKind::Labelled => {
                let label = facts["guess"].as_str().and_then(Label::parse).ok_or(Fault::TooLate)?;
                let by = facts["by"].as_i64().map(AgentId);
                let before = LabelBefore { label, unsure: facts["from"] == "unsorted", by };
                desk.unlabel(viewer, id, before).await?;
            }
            EventKind::ReplyQueued => {
                let reply = facts["reply"].as_i64().ok_or(Fault::TooLate)?;
                return Ok(Some(desk.undo_reply(viewer, id, ReplyId(reply)).await?));
            }
            _ => return Err(Fault::TooLate),
        }
        Ok(None)
    }

    /// What the page behind an htmx request gets: the case page its parts, a list its row and figures.
    async fn parts(&self, visit: &Visit, number: i64, flash: Flash) -> Result<String, Fault> {
        let mut desktop = self.desktop(visit);
        if visit.page.starts_with("/cases/") {
            desktop.f.flash = Some(flash.clone());
            match self.case_page(desktop.clone(), number, false).await {
                Ok(page) => return Ok(CasePush(page).render()?),
                // Handed over to where this person sees nothing.
                Err(Fault::NoCase(_)) => desktop.f.flash = None,
                Err(fault) => return Err(fault),
            }
        }
        let page = visit.page.clone();
        let asked = format!("case={number}");
        let peeked = page.split(['?', '&']).any(|pair| pair == asked);
        let peek = if peeked { self.peek(&desktop, number).await? } else { None };
        self.read(move |reader| {
            let (f, fill) = (&desktop.frame(reader, Default::default(), "")?, desktop.fill(reader));
            let room = Room::of_page(reader, &desktop.viewer, &page)?;
            let line = reader.queue_row(CaseId(number), desktop.viewer.id)?;
            let seen = line.filter(|line| authorize(&desktop.viewer, Action::Read, line.case.team).is_ok());
            let mut rows = Vec::new();
            if let Some(line) = &seen {
                let mut row = fill.row(line, f);
                if let Some(room) = room.as_ref().filter(|room| !room.holds(line)) {
                    row.left = Some(left(line, reader.catalog, room.team.as_ref().map(|team| team.id), f.language));
                }
                rows.push(row);
            }
            let counts = room.map(|room| room.counts(reader, f)).transpose()?;
            let mut out = RowPush { f, rows: &rows, counts: counts.as_ref(), flash: Some(&flash) }.render()?;
            if let Some(peek) = peek {
                let panel = crate::web::views::PeekPanel { f: f.clone(), peek: Some(peek) };
                out.push_str(&format!(
                    "<hx-partial hx-target=\"#peek\" hx-swap=\"innerMorph\">{}</hx-partial>",
                    panel.render()?
                ));
            }
            Ok(out)
        })
        .await
    }

    /// The first unclaimed case of a list, claimed.
    pub(super) async fn claim_next(&self, viewer: &Viewer, team: Option<String>) -> Result<Option<Outcome>, Fault> {
        let me = viewer.clone();
        let now = self.site.desk.clock().now();
        let (masks, limit) = (self.site.desk.masks_abuse(), self.site.desk.exposure_limit());
        let lines = self
            .read(move |reader| {
                let teams: Vec<_> = match &team {
                    Some(key) => reader.catalog.team_by_key(key).into_iter().map(|team| team.id).collect(),
                    None => me.visible_teams(),
                };
                let teams: Vec<_> = teams.into_iter().filter(|team| authorize(&me, Action::Work, *team).is_ok()).collect();
                if teams.is_empty() {
                    return Err(Fault::NoPage);
                }
                let filter = QueueFilter { teams, owner: Owner::Nobody, ..QueueFilter::default() };
                // Who has read enough abuse today is not sent more; taking it by hand stays possible.
                let enough = limit > 0 && reader.exposures(me.id, &day_of(&me, reader.catalog, now))? >= limit;
                let mut lines = reader.queue(&filter, me.id, now, if enough { PASSED_OVER } else { TRIES })?;
                lines.retain(|line| !enough || line.mention.text.seen(masks).is_ok());
                lines.truncate(TRIES as usize);
                Ok(lines)
            })
            .await?;
        for line in lines {
            match self.command(viewer, line.case.id.0, "claim", Fields::default()).await {
                Ok(outcome) => return Ok(Some(outcome)),
                // Somebody was faster: the next one, then.
                Err(Fault::Claimed(_) | Fault::TooLate) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(None)
    }
}

/// `POST /cases/{number}/{command}`.
pub(super) async fn run(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path((number, name)): Path<(String, String)>,
    Form(fields): Form<Fields>,
) -> Result<Response, Fault> {
    let number = number_of(&number)?;
    let typed = fields.text.clone();
    let kept = typed.clone().filter(|_| !visit.htmx);
    let (session, case) = (visit.token.stored(), CaseId(number));
    if let Some(post) = fields.post.filter(|_| name == "reveal") {
        // Before the event: what is pushed because of it must show the post already.
        console.revealed.show(session, case, MentionId(post), console.site.desk.clock().now());
    }
    match console.command(&visit.viewer, number, &name, fields).await {
        Ok(outcome) if visit.htmx => {
            let parts = console.parts(&visit, number, outcome.done.flash(visit.taste.language.words())).await?;
            Ok(axum::response::Html(parts).into_response())
        }
        // Nothing to go back to: the page that shows it is the answer, and is gone when it is left.
        Ok(outcome) if name == "reveal" => {
            let mut desktop = console.desktop(&visit);
            desktop.f.flash = Some(outcome.done.flash(desktop.f.w));
            desktop.f.here = format!("/cases/{number}");
            Ok(html(&console.case_page(desktop, number, false).await?)?.into_response())
        }
        Ok(outcome) => {
            let there = match console.look(&visit.viewer, number).await {
                Ok(_) => format!("/cases/{number}"),
                Err(_) => "/".into(),
            };
            Ok(([(header::SET_COOKIE, outcome.done.cookie())], Redirect::to(&there)).into_response())
        }
        // Without a script the page is drawn anew, so it brings the typed text back.
        Err(
            fault @ (Fault::Claimed(_)
            | Fault::Answered(_)
            | Fault::TooLong(_)
            | Fault::Empty
            | Fault::LinkOnly
            | Fault::TooLate),
        ) => match kept {
            Some(text) => typed_page(&console, &visit, number, &name, text, fault).await,
            None => Err(fault),
        },
        Err(fault) => {
            if name == "reveal" {
                console.revealed.leave(session, case);
            }
            Err(fault)
        }
    }
}

/// `POST /break`: everything that one has goes back.
pub(super) async fn take_break(State(console): State<Arc<Console>>, visit: Visit) -> Result<Response, Fault> {
    console.site.desk.take_break(&visit.viewer).await?;
    flash::go(&visit, "/mine", Done { did: Did::Break, case: 0, undo: None })
}

/// The case's page with what was typed and why it was not sent.
async fn typed_page(
    console: &Console,
    visit: &Visit,
    number: i64,
    name: &str,
    text: String,
    fault: Fault,
) -> Result<Response, Fault> {
    let mut desktop: Desktop = console.desktop(visit);
    let words = fault.words(&desktop.f, "");
    desktop.f.flash = Some(Flash { text: words, bad: true, anyway: matches!(fault, Fault::Answered(_)), ..Flash::default() });
    desktop.f.here = format!("/cases/{number}");
    let mut page = console.case_page(desktop, number, false).await?;
    let draft = if name == "note" { &mut page.note_draft } else { &mut page.reply_draft };
    draft.0 = text;
    Ok((fault.status(), html(&page)?).into_response())
}

async fn next(console: &Console, visit: &Visit, team: Option<String>) -> Result<Response, Fault> {
    match console.claim_next(&visit.viewer, team).await? {
        Some(outcome) => {
            let there = format!("/cases/{}", outcome.done.case);
            flash::go(visit, &there, outcome.done)
        }
        None if visit.htmx => {
            let f = console.desktop(visit).f;
            let flash = Flash { text: say::none_left(f.language), ..Flash::default() };
            Ok(html(&RowPush { f: &f, rows: &[], counts: None, flash: Some(&flash) })?.into_response())
        }
        None => Ok(Redirect::to("/").into_response()),
    }
}

/// `POST /claim-next`: in the list behind the request, or in any of one's queues.
pub(super) async fn claim_next(State(console): State<Arc<Console>>, visit: Visit) -> Result<Response, Fault> {
    let path = visit.page.split('?').next().unwrap_or_default();
    let team = path.strip_prefix("/queue/").map(str::to_owned);
    next(&console, &visit, team).await
}

/// `POST /queue/{team}/claim-next`.
pub(super) async fn claim_next_of(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path(team): Path<String>,
) -> Result<Response, Fault> {
    next(&console, &visit, Some(team)).await
}

#[derive(Deserialize)]
pub(super) struct Draft {
    kind: String,
    #[serde(default)]
    text: String,
}

/// `PUT /cases/{number}/draft` with `If-Match`; 412 brings the text that is stored instead.
pub(super) async fn draft(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path(number): Path<String>,
    headers: HeaderMap,
    Form(draft): Form<Draft>,
) -> Result<Response, Fault> {
    let number = number_of(&number)?;
    if !matches!(draft.kind.as_str(), "reply" | "note") {
        return Err(Fault::Unknown(draft.kind));
    }
    let version = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok()).map(|value| value.trim_matches('"'));
    let version: i64 = version.and_then(|version| version.parse().ok()).unwrap_or(0);
    let (desk, id) = (&console.site.desk, CaseId(number));
    console.presence.touch(id, &visit.viewer, true, desk.clock().now());
    match desk.put_draft(&visit.viewer, id, draft.kind.clone(), draft.text, version).await? {
        Ok(version) => Ok((StatusCode::NO_CONTENT, [(header::ETAG, format!("\"{version}\""))]).into_response()),
        Err(version) => {
            let view = console.look(&visit.viewer, number).await?;
            let stored = view.drafts.into_iter().find(|(kind, ..)| *kind == draft.kind);
            let text = stored.map(|(_, text, _)| text).unwrap_or_default();
            Ok((StatusCode::PRECONDITION_FAILED, axum::Json(json!({ "version": version, "text": text }))).into_response())
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Sign {
    case: i64,
    #[serde(default)]
    state: String,
}

/// `POST /presence`: somebody looks at a case, writes in it or leaves it.
pub(super) async fn presence(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Form(sign): Form<Sign>,
) -> Result<Response, Fault> {
    console.look(&visit.viewer, sign.case).await?;
    let (id, now) = (CaseId(sign.case), console.site.desk.clock().now());
    match sign.state.as_str() {
        "viewing" => console.presence.touch(id, &visit.viewer, false, now),
        "writing" => console.presence.touch(id, &visit.viewer, true, now),
        "gone" => console.presence.leave(id, visit.viewer.id),
        _ => return Err(Fault::Unknown(sign.state)),
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
