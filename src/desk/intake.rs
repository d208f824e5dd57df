//! How judged mentions become cases: opened, joined, folded, edited, deleted, each batch in one transaction.

use std::time::Duration;

use super::{Count, Desk, Error, Ledger};
use crate::{
    case::{AccountId, Actor, BrandId, CaseId, EventKind, Priority, Status},
    clock::Time,
    dispatch::{DEFAULT_TEAM, Outcome},
    mention::{ContactId, Envelope, Mark, MentionId, Op, Side, TimeQuality, Verdict},
    queue::{Case, NewCase, Stored, Texts, Urgency, named_conversation},
    sla::{Facts, Fired, Kind, Origin, Policy},
    text,
};

/// Who writes to another account of the same brand within this asks the same: one case, one answer.
const ASKS_AROUND: Duration = Duration::from_secs(30 * 60);

/// A text that listening catches again within this is a copy of the first, whoever posts it: a press release, a repost.
const COPIED: Duration = Duration::from_secs(24 * 3600);
/// Shorter texts are alike by chance.
const TELLING: usize = 40;

/// A mention with everything that the pipeline found out about it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Its place in the bus.
    pub position: i64,
    /// As it came from the bus.
    pub envelope: Envelope,
    /// Normalised and masked text.
    pub masked: String,
    /// The text as written, where masking changed it.
    pub original: Option<String>,
    /// Look-alike signature of the masked text.
    pub signature: u64,
    /// Label, language, reasons.
    pub verdict: Verdict,
    /// For each brand that caught it, what dispatch decided.
    pub findings: Vec<Finding>,
    /// Version of the rules that judged it.
    pub rules: u32,
}

/// What dispatch decided for one brand.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Whose.
    pub brand: BrandId,
    /// Through which account.
    pub account: AccountId,
    /// It addresses the account.
    pub addressed: bool,
    /// The query that caught it.
    pub query: Option<String>,
    /// Where dispatch sends it.
    pub route: Route,
    /// The rule that decided.
    pub rule: String,
}

/// [`dispatch::Outcome`](crate::dispatch::Outcome), kept after the rules have gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// A case in a team's queue.
    Case {
        /// Key of the team, or [`DEFAULT_TEAM`].
        team: String,
        /// How much it presses.
        priority: Priority,
        /// Key of the SLA policy; none leaves the choice to sla.
        policy: Option<String>,
    },
    /// Kept, counted and searchable, without a case.
    Fold,
    /// A case that a person sorts first.
    Hold {
        /// Key of the team, or [`DEFAULT_TEAM`].
        team: String,
    },
}

impl From<Outcome<'_>> for Route {
    fn from(outcome: Outcome<'_>) -> Route {
        match outcome {
            Outcome::Case { team, priority, policy } => {
                Route::Case { team: team.to_owned(), priority, policy: policy.map(str::to_owned) }
            }
            Outcome::Fold => Route::Fold,
            Outcome::Hold { team } => Route::Hold { team: team.to_owned() },
        }
    }
}

/// A batch of the bus, judged.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Which consumer of the bus.
    pub consumer: &'static str,
    /// Which partition.
    pub part: i64,
    /// Where the consumer stands before the batch.
    pub from: Mark,
    /// Where it stands after it.
    pub to: Mark,
    /// What could be read.
    pub mentions: Vec<Judged>,
    /// What could not: position, reason, bytes.
    pub dead: Vec<(i64, String, Vec<u8>)>,
}

/// Where a mention stands among what is stored.
#[derive(Clone, Copy, Debug)]
struct Placed {
    mention: MentionId,
    contact: ContactId,
    conversation: i64,
    /// Its author never wrote before.
    stranger: bool,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is durable.
    Stored,
    /// This batch was stored before, or by somebody else.
    Stale,
}

impl Desk {
    /// Takes a judged batch in, position first, in one transaction.
    ///
    /// # Errors
    /// The store's; nothing of the batch is stored then.
    pub async fn take_in(&self, batch: std::sync::Arc<Intake>) -> Result<Taken, Error> {
        self.transact(Urgency::Batch, move |ledger| {
            if !ledger.tx.advance(batch.consumer, batch.part, &batch.from, &batch.to)? {
                return Ok(Taken::Stale);
            }
            for (position, reason, bytes) in &batch.dead {
                ledger.tx.bury(&batch.to.log, batch.part, *position, reason, bytes)?;
            }
            let envelopes: Vec<&Envelope> = batch.mentions.iter().map(|judged| &judged.envelope).collect();
            ledger.tx.prefetch(&envelopes)?;
            for judged in &batch.mentions {
                ledger.take(judged)?;
            }
            Ok(Taken::Stored)
        })
        .await
    }
}

impl Ledger<'_, '_> {
    fn take(&mut self, judged: &Judged) -> Result<(), Error> {
        let outcome = match judged.envelope.op {
            Op::Upsert => self.upsert(judged)?,
            Op::Delete => self.delete(&judged.envelope)?,
            Op::Metrics => self.measure(&judged.envelope)?,
        };
        let envelope = &judged.envelope;
        let live = matches!(outcome, "opened" | "joined" | "reopened") && envelope.time_quality == TimeQuality::Exact;
        let lag = envelope.posted_at.filter(|_| live).map(|posted_at| self.now().since(posted_at));
        self.tally.push(Count::Mention { outcome, platform: envelope.platform().to_owned(), lag });
        Ok(())
    }

    fn upsert(&mut self, judged: &Judged) -> Result<&'static str, Error> {
        let envelope = &judged.envelope;
        if self.tx.tombstoned(&envelope.source, &envelope.native_id)? {
            return self.forget(envelope);
        }
        match self.tx.find_native(&envelope.source, &envelope.native_id)? {
            Some(stored) if stored.deleted => self.forget(envelope),
            Some(stored) => self.seen_again(judged, &stored),
            None => self.store_new(judged),
        }
    }

    /// A post that came after its delete: nothing of it is kept here, and the bus must not keep it either.
    fn forget(&mut self, envelope: &Envelope) -> Result<&'static str, Error> {
        self.tx.erase_from_bus(&envelope.source, &envelope.native_id)?;
        Ok("tombstoned")
    }

    fn texts(judged: &Judged) -> Texts<'_> {
        Texts { masked: &judged.masked, original: judged.original.as_deref(), signature: judged.signature }
    }

    /// A known mention: its newer text replaces the older one, and another brand may have caught it now.
    fn seen_again(&mut self, judged: &Judged, stored: &Stored) -> Result<&'static str, Error> {
        let mut outcome = "duplicate";
        if judged.envelope.version() > stored.version {
            self.tx.update_mention(stored.id, &judged.envelope, &judged.verdict, Self::texts(judged), judged.rules)?;
            let cases = self.tx.cases_of_mention(stored.id)?;
            for id in &cases {
                self.relabel(*id, stored.id, &judged.verdict)?;
                self.mention_event(Some(*id), stored.id, Actor::Customer, EventKind::Edited);
            }
            if cases.is_empty() {
                self.mention_event(None, stored.id, Actor::Customer, EventKind::Edited);
            }
            outcome = "edited";
        }
        if stored.side == Side::Customer {
            for finding in &judged.findings {
                let new_brand = !self.tx.matched_brand(stored.id, finding.brand)?;
                self.tx.add_match(stored.id, finding.brand, finding.account, finding.addressed, finding.query.as_deref())?;
                if new_brand {
                    let (mention, contact, conversation) = (stored.id, stored.contact, stored.conversation);
                    outcome = self.assign(judged, finding, Placed { mention, contact, conversation, stranger: false })?;
                }
            }
        }
        Ok(outcome)
    }

    /// A first mention that was edited or judged again changes its case's label, unless a person has set it.
    pub(super) fn relabel(&mut self, id: CaseId, mention: MentionId, verdict: &Verdict) -> Result<(), Error> {
        let Some(mut case) = self.tx.load_case(id)? else { return Ok(()) };
        if case.mention == mention && case.labelled_by.is_none() && case.status.unfinished() {
            self.settle(&mut case);
            case.label = verdict.label;
            case.confidence = verdict.confidence;
            case.unsure = verdict.unsure;
            self.tx.save_case(&case)?;
        }
        Ok(())
    }

    fn store_new(&mut self, judged: &Judged) -> Result<&'static str, Error> {
        let envelope = &judged.envelope;
        let Some(author) = &envelope.author else {
            return Ok("malformed");
        };
        let parent = match &envelope.parent {
            Some(parent) => self.tx.find_mention(&envelope.source, parent)?,
            None => None,
        };
        let conversation = match (&envelope.conversation, &parent) {
            (Some(conversation), _) => Some(named_conversation(&envelope.source, conversation)),
            (None, Some(parent)) => Some(parent.conversation),
            (None, None) => None,
        };
        let (contact, stranger) = self.tx.contact(&envelope.source, author)?;
        let mention =
            self.tx.insert_mention(envelope, contact, conversation, &judged.verdict, Self::texts(judged), judged.rules)?;
        for finding in &judged.findings {
            self.tx.add_match(mention, finding.brand, finding.account, finding.addressed, finding.query.as_deref())?;
        }
        match envelope.side {
            Side::Ours => self.we_spoke(envelope, mention, parent.as_ref()),
            Side::Other => {
                self.mention_event(None, mention, Actor::Customer, EventKind::Noted);
                Ok("noted")
            }
            Side::Customer => {
                let placed = Placed { mention, contact, stranger, conversation: conversation.unwrap_or(mention.0) };
                let mut outcome = "unmatched";
                for finding in &judged.findings {
                    outcome = self.assign(judged, finding, placed)?;
                }
                if judged.findings.is_empty() {
                    self.mention_event(None, mention, Actor::Customer, EventKind::Noted);
                }
                Ok(outcome)
            }
        }
    }

    /// Our own post, seen on the platform: either the outbox sent it, or a colleague answered there.
    fn we_spoke(&mut self, envelope: &Envelope, mention: MentionId, parent: Option<&Stored>) -> Result<&'static str, Error> {
        let at = envelope.posted_at.unwrap_or(self.now());
        let answered = parent.map_or(Ok(Vec::new()), |parent| self.tx.cases_of_mention(parent.id))?;
        let mut concerned = false;
        for id in answered {
            let Some(mut case) = self.tx.load_case(id)? else { continue };
            // Asked while the case is ours: the outbox may just be learning that the platform has its reply.
            if !concerned && self.tx.reply_with_native_id(&envelope.native_id)?.is_some() {
                continue;
            }
            concerned = true;
            self.settle(&mut case);
            // A reply whose outcome we did not learn is learnt here.
            if let Some(reply) = self.tx.reply_in_flight(id, &envelope.text)? {
                self.tx.set_reply_sent(reply, &envelope.native_id, envelope.url.as_deref(), at)?;
                self.mention_event(Some(id), mention, Actor::System, EventKind::ReplySent);
            } else {
                self.mention_event(Some(id), mention, Actor::System, EventKind::AnsweredThere);
            }
            self.answered(&mut case, at);
            self.tx.save_case(&case)?;
        }
        if !concerned {
            self.mention_event(None, mention, Actor::System, EventKind::Noted);
        }
        Ok("ours")
    }

    fn assign(&mut self, judged: &Judged, finding: &Finding, placed: Placed) -> Result<&'static str, Error> {
        let Placed { mention, contact, conversation, stranger } = placed;
        let envelope = &judged.envelope;
        // A post that starts a thread cannot belong to a case of that thread.
        let in_thread = envelope.parent.is_some() || envelope.conversation.is_some();
        if in_thread && let Some(case) = self.tx.case_in_conversation(finding.brand, contact, conversation)? {
            if case.status.unfinished() {
                return self.join(case, judged, mention);
            }
            let window = self.policies.get(&case.policy).reopen_window();
            let fresh = case.resolved_at.is_some_and(|resolved_at| self.now() <= resolved_at.plus(window));
            if fresh && !matches!(finding.route, Route::Fold) {
                return self.reopen(case, judged, mention);
            }
        }
        if matches!(finding.route, Route::Fold) {
            self.mention_event(None, mention, Actor::Customer, EventKind::Folded);
            return Ok("folded");
        }
        // A stranger has no other case.
        let others = if stranger { Vec::new() } else { self.tx.other_cases(finding.brand, contact)? };
        // Too short a text looks like every other short text.
        let short = judged.masked.chars().nth(11).is_none();
        for (id, account, signature) in others {
            let twin = !short && text::alike(signature, judged.signature);
            let elsewhere = finding.addressed && account != finding.account;
            if !twin && !elsewhere {
                continue;
            }
            // Somebody may have resolved it since.
            let Some(mut case) = self.tx.load_case(id)?.filter(|case| case.status.unfinished()) else { continue };
            if twin || (elsewhere && self.now().since(case.opened_at) <= ASKS_AROUND) {
                // Who was asked last answers, once for all.
                if elsewhere {
                    case.account = finding.account;
                }
                return self.join(case, judged, mention);
            }
        }
        if !finding.addressed && !in_thread && self.is_copy(finding.brand, judged)? {
            self.mention_event(None, mention, Actor::Customer, EventKind::Folded);
            return Ok("folded");
        }
        self.open(judged, finding, placed)
    }

    /// Whether somebody else's post says nearly the same and has a case; if not, later ones may be copies of this one.
    fn is_copy(&mut self, brand: BrandId, judged: &Judged) -> Result<bool, Error> {
        if judged.masked.chars().nth(TELLING).is_none() {
            return Ok(false);
        }
        let known = match &mut self.overheard {
            Some(known) => known,
            None => self.overheard.insert(self.tx.overheard(self.tx.now.minus(COPIED))?),
        };
        if known.iter().any(|(other, signature)| *other == brand && text::alike(*signature, judged.signature)) {
            return Ok(true);
        }
        known.push((brand, judged.signature));
        Ok(false)
    }

    fn open(&mut self, judged: &Judged, finding: &Finding, placed: Placed) -> Result<&'static str, Error> {
        let Placed { mention, contact, conversation, .. } = placed;
        let envelope = &judged.envelope;
        let catalog = self.tx.catalog();
        let (team_key, priority, policy_key, held) = match &finding.route {
            Route::Case { team, priority, policy } => (team.as_str(), *priority, policy.as_deref(), false),
            Route::Hold { team } => (team.as_str(), Priority::Normal, None, true),
            Route::Fold => return Ok("folded"),
        };
        let team = catalog
            .teams
            .iter()
            .find(|team| if team_key == DEFAULT_TEAM { team.brand == finding.brand } else { team.key == team_key })
            .ok_or_else(|| Error::Unknown { what: "team", name: team_key.to_owned() })?;
        let brand = catalog.brand(finding.brand).map_or("", |brand| brand.key.as_str());
        let facts = Facts {
            label: judged.verdict.label,
            team: &team.key,
            lang: judged.verdict.lang,
            source: envelope.platform(),
            brand,
            priority,
            reach: envelope.author.as_ref().and_then(|author| author.reach).unwrap_or(0),
            tags: &[],
        };
        let policies = std::sync::Arc::clone(&self.policies);
        let policy = policy_key.and_then(|key| policies.named(key)).unwrap_or_else(|| policies.choose(&facts));
        let (origin_at, origin) = policy.origin(envelope.posted_at, envelope.time_quality, envelope.first_seen_at);
        if too_old(policy, envelope, self.now()) {
            self.mention_event(None, mention, Actor::Customer, EventKind::Noted);
            return Ok("history");
        }
        let started: Vec<_> = [Kind::Triage, Kind::FirstResponse, Kind::Resolution]
            .into_iter()
            .filter_map(|kind| crate::sla::start(policy, kind, 1, origin_at, origin, self.now()))
            .collect();
        let (clocks, fired): (Vec<_>, Vec<Vec<Fired>>) = started.into_iter().unzip();
        let new = NewCase {
            brand: finding.brand,
            account: finding.account,
            contact,
            conversation,
            mention,
            priority,
            team: team.id,
            label: judged.verdict.label,
            confidence: judged.verdict.confidence,
            unsure: judged.verdict.unsure || held,
            rule: finding.rule.clone(),
            rules: judged.rules,
            policy: policy.reference(),
            unanswered_since: origin_at,
            signature: judged.signature,
            clocks,
        };
        let id = self.tx.insert_case(&new)?;
        self.mention_event(Some(id), mention, Actor::Customer, EventKind::Opened);
        if fired.iter().any(|fired| !fired.is_empty())
            && let Some(case) = self.tx.load_case(id)?
        {
            for (index, fired) in fired.into_iter().enumerate() {
                self.record(&case, index, fired);
            }
        }
        Ok("opened")
    }

    fn join(&mut self, mut case: Case, judged: &Judged, mention: MentionId) -> Result<&'static str, Error> {
        self.customer_wrote(&mut case, judged, mention)?;
        if case.status == Status::WaitingCustomer {
            self.stop_waiting(&mut case)?;
        }
        self.mention_event(Some(case.id), mention, Actor::Customer, EventKind::Joined);
        self.tx.save_case(&case)?;
        Ok("joined")
    }

    fn reopen(&mut self, mut case: Case, judged: &Judged, mention: MentionId) -> Result<&'static str, Error> {
        case.status = if case.assignee.is_some() { Status::Open } else { Status::New };
        case.resolved_at = None;
        case.disposition = None;
        self.customer_wrote(&mut case, judged, mention)?;
        let (at, origin) = self.origin(&case, judged);
        self.start(&mut case, Kind::Resolution, at, origin);
        self.mention_event(Some(case.id), mention, Actor::Customer, EventKind::Reopened);
        self.tx.save_case(&case)?;
        Ok("reopened")
    }

    fn customer_wrote(&mut self, case: &mut Case, judged: &Judged, mention: MentionId) -> Result<(), Error> {
        self.settle(case);
        case.latest_mention = mention;
        case.mentions += 1;
        self.tx.join_mention(case.id, mention)?;
        let (at, origin) = self.origin(case, judged);
        self.asked_again(case, at, origin);
        Ok(())
    }

    fn origin(&self, case: &Case, judged: &Judged) -> (Time, Origin) {
        let envelope = &judged.envelope;
        self.policies.get(&case.policy).origin(envelope.posted_at, envelope.time_quality, envelope.first_seen_at)
    }

    /// The author took it down: the text goes, the case stays with what is left of it.
    fn delete(&mut self, envelope: &Envelope) -> Result<&'static str, Error> {
        let Some(stored) = self.tx.find_mention(&envelope.source, &envelope.native_id)? else {
            self.tx.set_tombstone(&envelope.source, &envelope.native_id)?;
            return Ok("deleted");
        };
        if stored.deleted {
            return Ok("duplicate");
        }
        self.tx.erase_mention(stored.id)?;
        let cases = self.tx.cases_of_mention(stored.id)?;
        for id in &cases {
            self.mention_event(Some(*id), stored.id, Actor::Customer, EventKind::Deleted);
        }
        if cases.is_empty() {
            self.mention_event(None, stored.id, Actor::Customer, EventKind::Deleted);
        }
        Ok("deleted")
    }

    fn measure(&mut self, envelope: &Envelope) -> Result<&'static str, Error> {
        if let Some(stored) = self.tx.find_native(&envelope.source, &envelope.native_id)? {
            let reach = envelope.author.as_ref().and_then(|author| author.reach);
            self.tx.update_metrics(stored.id, envelope.engagement.unwrap_or_default(), reach)?;
        }
        Ok("measured")
    }
}

/// History is indexed, but opens no case: a back-fill must not raise ten thousand breaches.
fn too_old(policy: &Policy, envelope: &Envelope, now: Time) -> bool {
    let age: Duration = envelope.posted_at.map_or(Duration::ZERO, |posted_at| now.since(posted_at));
    envelope.time_quality != TimeQuality::Unknown && age > policy.max_backdate()
}
