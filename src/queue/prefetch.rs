//! What a batch will ask, asked at once: on PostgreSQL each question alone would cost a round trip.
//!
//! The answers are kept right as the transaction writes; what was not foreseen is asked when it comes up.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{
    Case, Error, Stored, Tx,
    intake::{STORED_COLUMNS, key_hash, named_conversation, stored_of},
    sql::{Value, bulk},
};
use crate::{
    case::{AccountId, BrandId, CaseId},
    mention::{Author, ContactId, Envelope, MentionId, Op},
};

/// Answers that a transaction has in hand.
#[derive(Default)]
pub(super) struct Known {
    /// By source and global id; none where nothing is stored.
    natives: HashMap<(i64, String), Option<Stored>>,
    /// By source and local reference.
    locals: HashMap<(i64, String), Option<Stored>>,
    tombstones: HashMap<i64, bool>,
    contacts: HashMap<(i64, String), Contact>,
    brands: HashMap<MentionId, HashSet<BrandId>>,
    /// Unfinished cases of a contact: brand, number, account, signature.
    unfinished: HashMap<ContactId, Vec<(BrandId, CaseId, AccountId, u64)>>,
    /// Cases of a contact in a conversation: brand, number, and `finished` as its column has it.
    threads: HashMap<(ContactId, i64), Vec<(BrandId, CaseId, i64)>>,
    /// Contacts and conversations that this transaction has made: only it can have cases of theirs.
    strangers: HashSet<ContactId>,
    begun: HashSet<i64>,
    new: HashSet<MentionId>,
    /// Hashes of the posts that this transaction has stored, and the posts that it has buried unseen.
    created: Vec<i64>,
    buried: (Vec<i64>, Vec<String>),
    /// The cases that hold a mention.
    holders: HashMap<MentionId, BTreeSet<CaseId>>,
    /// Cases that this transaction holds for itself, as it last wrote them.
    cases: HashMap<CaseId, Case>,
}

/// A contact as it is stored.
#[derive(Clone)]
pub(super) struct Contact {
    pub(super) id: ContactId,
    pub(super) handle: String,
    pub(super) name: Option<String>,
    pub(super) reach: Option<i64>,
    /// It was made for this batch, and nobody has asked for it yet.
    pub(super) stranger: bool,
}

impl Known {
    pub(super) fn native(&self, source: i64, id: &str) -> Option<Option<Stored>> {
        self.natives.get(&(source, id.to_owned())).cloned()
    }

    pub(super) fn local(&self, source: i64, id: &str) -> Option<Option<Stored>> {
        self.locals.get(&(source, id.to_owned())).cloned()
    }

    pub(super) fn tombstone(&self, hash: i64) -> Option<bool> {
        self.tombstones.get(&hash).copied()
    }

    pub(super) fn set_tombstone(&mut self, hash: i64, source: i64, native_id: &str) {
        self.tombstones.insert(hash, true);
        self.buried.0.push(source);
        self.buried.1.push(native_id.to_owned());
    }

    pub(super) fn buries(&self) -> bool {
        !self.buried.0.is_empty()
    }

    pub(super) fn contact(&mut self, source: i64, native_id: &str) -> Option<&mut Contact> {
        self.contacts.get_mut(&(source, native_id.to_owned()))
    }

    pub(super) fn matched(&self, mention: MentionId, brand: BrandId) -> Option<bool> {
        self.brands.get(&mention).map(|brands| brands.contains(&brand))
    }

    pub(super) fn add_match(&mut self, mention: MentionId, brand: BrandId) {
        if let Some(brands) = self.brands.get_mut(&mention) {
            brands.insert(brand);
        }
    }

    pub(super) fn case(&self, id: CaseId) -> Option<Case> {
        self.cases.get(&id).cloned()
    }

    pub(super) fn keep(&mut self, case: &Case) {
        self.cases.insert(case.id, case.clone());
    }

    pub(super) fn holders(&self, mention: MentionId) -> Option<Vec<CaseId>> {
        self.holders.get(&mention).map(|cases| cases.iter().copied().collect())
    }

    pub(super) fn hold(&mut self, case: CaseId, mention: MentionId) {
        if let Some(cases) = self.holders.get_mut(&mention) {
            cases.insert(case);
        }
    }

    pub(super) fn is_new(&self, mention: MentionId) -> bool {
        self.new.contains(&mention)
    }

    pub(super) fn add_mention(&mut self, source: i64, envelope: &Envelope, stored: &Stored) {
        self.new.insert(stored.id);
        self.created.push(key_hash(&envelope.source, &envelope.native_id));
        self.holders.insert(stored.id, BTreeSet::new());
        self.brands.insert(stored.id, HashSet::new());
        if stored.conversation == stored.id.0 {
            self.begun.insert(stored.id.0);
        }
        if let Some(local_ref) = &envelope.local_ref {
            self.locals.insert((source, local_ref.clone()), Some(stored.clone()));
        }
        self.natives.insert((source, envelope.native_id.clone()), Some(stored.clone()));
    }

    /// What is stored of a mention changes: it is asked for again.
    pub(super) fn forget_mention(&mut self, id: MentionId) {
        let other = |stored: &mut Option<Stored>| stored.as_ref().is_none_or(|stored| stored.id != id);
        self.natives.retain(|_, stored| other(stored));
        self.locals.retain(|_, stored| other(stored));
    }

    pub(super) fn other_cases(&self, brand: BrandId, contact: ContactId) -> Option<Vec<(CaseId, AccountId, u64)>> {
        let cases = self.unfinished.get(&contact)?.iter().filter(|case| case.0 == brand);
        Some(cases.take(8).map(|(_, case, account, signature)| (*case, *account, *signature)).collect())
    }

    /// The newest case in a conversation, if that is known.
    pub(super) fn thread(&self, brand: BrandId, contact: ContactId, conversation: i64) -> Option<Option<CaseId>> {
        match self.threads.get(&(contact, conversation)) {
            Some(cases) => {
                let cases = cases.iter().filter(|case| case.0 == brand);
                Some(cases.max_by_key(|(_, _, finished)| (*finished == 0, *finished)).map(|case| case.1))
            }
            None if self.strangers.contains(&contact) || self.begun.contains(&conversation) => Some(None),
            None => None,
        }
    }

    /// A case was opened or saved.
    pub(super) fn case_is(
        &mut self,
        key: (BrandId, ContactId, i64),
        case: CaseId,
        finished: i64,
        account: AccountId,
        signature: u64,
    ) {
        let (brand, contact, conversation) = key;
        if let Some(cases) = self.unfinished.get_mut(&contact) {
            cases.retain(|known| known.1 != case);
            if finished == 0 {
                cases.push((brand, case, account, signature));
            }
        }
        let complete = self.strangers.contains(&contact) || self.begun.contains(&conversation);
        if complete || self.threads.contains_key(&(contact, conversation)) {
            let cases = self.threads.entry((contact, conversation)).or_default();
            cases.retain(|known| known.1 != case);
            cases.push((brand, case, finished));
        }
    }
}

impl Tx<'_> {
    /// Asks for all that a batch with these envelopes will need to know. Call it once, before any of them is taken.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn prefetch(&mut self, envelopes: &[&Envelope]) -> Result<(), Error> {
        if !self.sql.shared() || envelopes.is_empty() {
            return Ok(());
        }
        let mut known = Known::default();
        let mut by_source: BTreeMap<&str, Vec<&Envelope>> = BTreeMap::new();
        for envelope in envelopes {
            by_source.entry(&envelope.source).or_default().push(envelope);
        }
        for (source, envelopes) in by_source {
            let source = self.source(source)?;
            self.ask_mentions(&mut known, source, &envelopes)?;
            self.ask_tombstones(&mut known, &envelopes)?;
            let new = still_to_come(&known, source, &envelopes);
            self.ask_contacts(&mut known, source, &new)?;
            self.ask_threads(&mut known, source, &new)?;
            self.sql.reserve(&bulk::MENTION, new.len())?;
        }
        self.ask_brands(&mut known)?;
        self.ask_holders(&mut known)?;
        self.ask_unfinished(&mut known)?;
        self.ask_cases(&mut known, envelopes)?;
        self.known = Some(Box::new(known));
        Ok(())
    }

    /// A delete and a create of one post may come through two partitions at once. Neither sees the other until one
    /// has committed, so each looks once more when it is the next to commit, and runs again if the other was first.
    pub(super) fn check_tombstones(&self) -> Result<(), Error> {
        let Some(known) = &self.known else { return Ok(()) };
        let met = |sql: &str, values: &[Value<'_>]| self.sql.one(sql, values, |row| row.get::<bool>(0));
        let (sources, ids) = &known.buried;
        let deleted = !known.created.is_empty()
            && met(
                "SELECT EXISTS (SELECT 1 FROM tombstone WHERE hash IN (SELECT value FROM json_each(?1)))",
                &[known.created[..].into()],
            )?;
        let created = known.buries()
            && met(
                "SELECT EXISTS (SELECT 1 FROM unnest(?1, ?2) AS b(source_id, id) JOIN mention m ON m.source_id = b.source_id AND m.native_id = b.id)
                 OR EXISTS (SELECT 1 FROM unnest(?1, ?2) AS b(source_id, id) JOIN mention m ON m.source_id = b.source_id AND m.local_ref = b.id)",
                &[sources[..].into(), ids[..].into()],
            )?;
        if deleted || created { Err(self.sql.taken()) } else { Ok(()) }
    }

    fn ask_mentions(&self, known: &mut Known, source: i64, envelopes: &[&Envelope]) -> Result<(), Error> {
        let parents =
            envelopes.iter().filter(|envelope| envelope.op == Op::Upsert).filter_map(|envelope| envelope.parent.as_ref());
        let deleted = envelopes.iter().filter(|envelope| envelope.op == Op::Delete).map(|envelope| &envelope.native_id);
        let locals: Vec<String> = parents.clone().chain(deleted).cloned().collect();
        let natives: Vec<String> = envelopes.iter().map(|envelope| &envelope.native_id).chain(parents).cloned().collect();
        for (column, asked, answers) in [("native_id", natives, &mut known.natives), ("local_ref", locals, &mut known.locals)] {
            if asked.is_empty() {
                continue;
            }
            let sql = format!(
                "SELECT {STORED_COLUMNS}, {column} FROM mention WHERE source_id = ?1 AND {column} IN (SELECT value FROM json_each(?2))"
            );
            self.sql.each(&sql, &[source.into(), asked[..].into()], |row| {
                answers.insert((source, row.get(8)?), Some(stored_of(row)?));
                Ok(())
            })?;
            for id in asked {
                answers.entry((source, id)).or_insert(None);
            }
        }
        Ok(())
    }

    fn ask_tombstones(&self, known: &mut Known, envelopes: &[&Envelope]) -> Result<(), Error> {
        let hashes: Vec<i64> = envelopes.iter().map(|envelope| key_hash(&envelope.source, &envelope.native_id)).collect();
        known.tombstones.extend(hashes.iter().map(|hash| (*hash, false)));
        self.sql.each(
            "SELECT hash FROM tombstone WHERE hash IN (SELECT value FROM json_each(?1))",
            &[hashes[..].into()],
            |row| {
                known.tombstones.insert(row.get(0)?, true);
                Ok(())
            },
        )
    }

    /// The authors of what is new; those who never wrote before are stored, in one order for all processes.
    fn ask_contacts(&self, known: &mut Known, source: i64, new: &[&Envelope]) -> Result<(), Error> {
        let authors: BTreeMap<&str, &Author> = new
            .iter()
            .filter_map(|envelope| envelope.author.as_ref())
            .map(|author| (author.native_id.as_str(), author))
            .collect();
        if authors.is_empty() {
            return Ok(());
        }
        let ids: Vec<String> = authors.keys().map(|id| (*id).to_owned()).collect();
        self.ask_known_contacts(known, source, &ids)?;
        let missing: Vec<&Author> = authors
            .values()
            .copied()
            .filter(|author| !known.contacts.contains_key(&(source, author.native_id.clone())))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let column = |of: fn(&Author) -> &str| -> Vec<String> { missing.iter().map(|author| of(author).to_owned()).collect() };
        let (natives, handles) = (column(|author| &author.native_id), column(|author| &author.handle));
        // An array of the client's holds no NULL among its texts: a name that is none is never empty.
        let names = column(|author| author.name.as_deref().unwrap_or_default());
        let reaches: Vec<i64> =
            missing.iter().map(|author| author.reach.map_or(-1, |reach| i64::try_from(reach).unwrap_or(i64::MAX))).collect();
        let mut added: HashMap<String, ContactId> = HashMap::new();
        self.sql.each(
            "INSERT INTO contact (source_id, native_id, handle, name, reach, first_seen_at)
             SELECT ?1, a.native_id, a.handle, nullif(a.name, ''), nullif(a.reach, -1), ?6 FROM unnest(?2, ?3, ?4, ?5) AS a(native_id, handle, name, reach)
             ON CONFLICT (source_id, native_id) DO NOTHING RETURNING native_id, id",
            &[
                source.into(),
                natives[..].into(),
                handles[..].into(),
                names[..].into(),
                reaches[..].into(),
                self.now.0.into(),
            ],
            |row| {
                added.insert(row.get(0)?, ContactId(row.get(1)?));
                Ok(())
            },
        )?;
        let mut late: Vec<String> = Vec::new();
        for author in missing {
            let Some(id) = added.get(&author.native_id).copied() else {
                late.push(author.native_id.clone());
                continue;
            };
            let reach = author.reach.map(|reach| i64::try_from(reach).unwrap_or(i64::MAX));
            let contact = Contact { id, handle: author.handle.clone(), name: author.name.clone(), reach, stranger: true };
            known.contacts.insert((source, author.native_id.clone()), contact);
            known.strangers.insert(id);
        }
        // Another process stored these a moment ago.
        if late.is_empty() { Ok(()) } else { self.ask_known_contacts(known, source, &late) }
    }

    fn ask_known_contacts(&self, known: &mut Known, source: i64, asked: &[String]) -> Result<(), Error> {
        self.sql.each(
            "SELECT native_id, id, handle, name, reach FROM contact
             WHERE source_id = ?1 AND native_id IN (SELECT value FROM json_each(?2))",
            &[source.into(), asked.into()],
            |row| {
                let (id, handle) = (ContactId(row.get(1)?), row.get(2)?);
                let contact = Contact { id, handle, name: row.get(3)?, reach: row.get(4)?, stranger: false };
                known.contacts.insert((source, row.get(0)?), contact);
                Ok(())
            },
        )
    }

    /// The cases of the conversations that are gone on with, as far as these are known already.
    fn ask_threads(&self, known: &mut Known, source: i64, new: &[&Envelope]) -> Result<(), Error> {
        let mut asked: BTreeSet<(i64, i64)> = BTreeSet::new();
        for envelope in new {
            let Some(contact) =
                envelope.author.as_ref().and_then(|author| known.contacts.get(&(source, author.native_id.clone())))
            else {
                continue;
            };
            let parent = envelope
                .parent
                .as_ref()
                .and_then(|parent| known.native(source, parent).flatten().or_else(|| known.local(source, parent).flatten()));
            let conversation = match (&envelope.conversation, parent) {
                (Some(name), _) => named_conversation(&envelope.source, name),
                (None, Some(parent)) => parent.conversation,
                (None, None) => continue,
            };
            if !contact.stranger {
                asked.insert((contact.id.0, conversation));
            }
        }
        let (contacts, conversations): (Vec<i64>, Vec<i64>) = asked.into_iter().unzip();
        if contacts.is_empty() {
            return Ok(());
        }
        for (contact, conversation) in contacts.iter().zip(&conversations) {
            known.threads.entry((ContactId(*contact), *conversation)).or_default();
        }
        self.sql.each(
            "SELECT c.contact_id, c.conversation, c.brand_id, c.id, c.finished FROM unnest(?1, ?2) AS a(contact_id, conversation)
             JOIN cases c ON c.contact_id = a.contact_id AND c.conversation = a.conversation",
            &[contacts[..].into(), conversations[..].into()],
            |row| {
                let key = (ContactId(row.get(0)?), row.get(1)?);
                let case = (BrandId(row.get(2)?), CaseId(row.get(3)?), row.get(4)?);
                known.threads.entry(key).or_default().push(case);
                Ok(())
            },
        )
    }

    /// The brands that caught what is stored already.
    fn ask_brands(&self, known: &mut Known) -> Result<(), Error> {
        let stored: Vec<i64> = known.natives.values().flatten().map(|stored| stored.id.0).collect();
        if stored.is_empty() {
            return Ok(());
        }
        known.brands.extend(stored.iter().map(|id| (MentionId(*id), HashSet::new())));
        self.sql.each(
            "SELECT mention_id, brand_id FROM mention_match WHERE mention_id IN (SELECT value FROM json_each(?1))",
            &[stored[..].into()],
            |row| {
                known.brands.entry(MentionId(row.get(0)?)).or_default().insert(BrandId(row.get(1)?));
                Ok(())
            },
        )
    }

    /// The cases that hold what is stored already.
    fn ask_holders(&self, known: &mut Known) -> Result<(), Error> {
        let stored: Vec<i64> = known.natives.values().flatten().map(|stored| stored.id.0).collect();
        if stored.is_empty() {
            return Ok(());
        }
        known.holders.extend(stored.iter().map(|id| (MentionId(*id), BTreeSet::new())));
        self.sql.each(
            "SELECT mention_id, id FROM cases WHERE mention_id IN (SELECT value FROM json_each(?1))
             UNION SELECT mention_id, case_id FROM case_mention WHERE mention_id IN (SELECT value FROM json_each(?1))",
            &[stored[..].into()],
            |row| {
                known.holders.entry(MentionId(row.get(0)?)).or_default().insert(CaseId(row.get(1)?));
                Ok(())
            },
        )
    }

    /// The cases that will most likely change: those of conversations that go on, and of posts that were edited.
    fn ask_cases(&self, known: &mut Known, envelopes: &[&Envelope]) -> Result<(), Error> {
        let edited: HashMap<&str, i64> = envelopes
            .iter()
            .filter(|envelope| envelope.op == Op::Upsert)
            .map(|envelope| (envelope.native_id.as_str(), envelope.version()))
            .collect();
        let edits = known.natives.iter().filter_map(|((_, id), stored)| {
            let stored = stored.as_ref()?;
            edited.get(id.as_str()).filter(|version| **version > stored.version).map(|_| stored.id)
        });
        let held = edits.filter_map(|mention| known.holders.get(&mention)).flatten().map(|case| case.0);
        let ids: BTreeSet<i64> = known.threads.values().flatten().map(|case| case.1.0).chain(held).collect();
        let ids: Vec<i64> = ids.into_iter().collect();
        if ids.is_empty() {
            return Ok(());
        }
        for case in self.load_cases(&ids)? {
            known.cases.insert(case.id, case);
        }
        Ok(())
    }

    /// The unfinished cases of the authors.
    fn ask_unfinished(&self, known: &mut Known) -> Result<(), Error> {
        known.unfinished.extend(known.contacts.values().map(|contact| (contact.id, Vec::new())));
        let contacts: Vec<i64> =
            known.contacts.values().filter(|contact| !contact.stranger).map(|contact| contact.id.0).collect();
        if contacts.is_empty() {
            return Ok(());
        }
        self.sql.each(
            "SELECT contact_id, brand_id, id, account_id, signature FROM cases
             WHERE contact_id IN (SELECT value FROM json_each(?1)) AND finished = 0 ORDER BY id",
            &[contacts[..].into()],
            |row| {
                let signature = row.get::<i64>(4)?.cast_unsigned();
                let case = (BrandId(row.get(1)?), CaseId(row.get(2)?), AccountId(row.get(3)?), signature);
                known.unfinished.entry(ContactId(row.get(0)?)).or_default().push(case);
                Ok(())
            },
        )
    }
}

/// The posts that are new to the store and will be stored; of one that comes twice the first.
fn still_to_come<'e>(known: &Known, source: i64, envelopes: &[&'e Envelope]) -> Vec<&'e Envelope> {
    let deleted: HashSet<&str> =
        envelopes.iter().filter(|envelope| envelope.op == Op::Delete).map(|envelope| envelope.native_id.as_str()).collect();
    let mut seen = HashSet::new();
    let mut new = Vec::new();
    for envelope in envelopes.iter().filter(|envelope| envelope.op == Op::Upsert) {
        let buried = known.tombstone(key_hash(&envelope.source, &envelope.native_id)) == Some(true);
        if seen.insert(envelope.native_id.as_str())
            && !deleted.contains(envelope.native_id.as_str())
            && known.native(source, &envelope.native_id).flatten().is_none()
            && !buried
        {
            new.push(*envelope);
        }
    }
    new
}
