//! How mentions enter the store: positions of the bus, contacts, mentions, dead letters.

use sha2::{Digest, Sha256};

use super::{
    Error, Tx,
    prefetch::Contact,
    sql::{Row, Value, bulk},
};
use crate::{
    case::{AccountId, BrandId},
    clock::Time,
    mention::{Author, ContactId, Engagement, Envelope, Label, Mark, MentionId, Side, Verdict},
};

/// A mention that is already stored, as far as the next one needs to know it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Row id.
    pub id: MentionId,
    /// Which version of its text is stored.
    pub version: i64,
    /// Who speaks.
    pub side: Side,
    /// Its author.
    pub contact: ContactId,
    /// The thread: the mention that began it, or a negative hash of the source's name for it.
    pub conversation: i64,
    /// What the classifier said.
    pub label: Label,
    /// When it was posted; first seen where the source does not say.
    pub posted_at: Time,
    /// Its text is gone already.
    pub deleted: bool,
}

/// What is written for one new or changed mention, besides its envelope.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    /// Normalised and masked: for index, page and log.
    pub masked: &'a str,
    /// As the customer wrote it, where masking changed it.
    pub original: Option<&'a str>,
    /// Look-alike signature of the masked text.
    pub signature: u64,
}

/// A post whose text must still leave the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Row id.
    pub id: i64,
    /// Platform and instance; empty where an older version did not note it.
    pub source: String,
    /// Global id.
    pub native_id: String,
}

/// How the store names a thread that the source names: negative, so that it is never a mention's id.
pub fn named_conversation(source: &str, key: &str) -> i64 {
    key_hash(source, key) | i64::MIN
}

/// A stable 64-bit name for a key of a source.
pub fn key_hash(source: &str, key: &str) -> i64 {
    let mut hasher = Sha256::new();
    hasher.update(source.as_bytes());
    hasher.update([0]);
    hasher.update(key.as_bytes());
    let digest = hasher.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}

/// A count as a column holds it.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) const STORED_COLUMNS: &str =
    "id, version, side, contact_id, coalesce(conversation, id), label, posted_at, deleted_at";

pub(super) fn stored_of(row: &Row<'_>) -> Result<Stored, Error> {
    Ok(Stored {
        id: MentionId(row.get(0)?),
        version: row.get(1)?,
        side: match row.get(2)? {
            "ours" => Side::Ours,
            "other" => Side::Other,
            _ => Side::Customer,
        },
        contact: ContactId(row.get(3)?),
        conversation: row.get(4)?,
        label: Label::parse(row.get(5)?).unwrap_or(Label::Other),
        posted_at: Time(row.get(6)?),
        deleted: row.get::<Option<i64>>(7)?.is_some(),
    })
}

impl Tx<'_> {
    /// Moves a consumer from `from` to `to`; false when it is somewhere else, so that a redelivered
    /// batch or a worker that lost its partition changes nothing.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn advance(&mut self, consumer: &str, part: i64, from: &Mark, to: &Mark) -> Result<bool, Error> {
        if *from == Mark::default() {
            self.sql.execute(
                "INSERT INTO position (consumer, part, next) VALUES (?1, ?2, 0) ON CONFLICT DO NOTHING",
                &[consumer.into(), part.into()],
            )?;
        }
        let moved = self.sql.execute(
            "UPDATE position SET log = ?5, next = ?6 WHERE consumer = ?1 AND part = ?2 AND log = ?3 AND next = ?4",
            &[consumer.into(), part.into(), (&*from.log).into(), from.next.into(), (&*to.log).into(), to.next.into()],
        )?;
        Ok(moved == 1)
    }

    /// Keeps what could not be handled, with its reason.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn bury(&mut self, log: &str, part: i64, position: i64, reason: &str, bytes: &[u8]) -> Result<(), Error> {
        self.sql.add(
            &bulk::DEAD_LETTER,
            &[log.into(), part.into(), position.into(), self.now.0.into(), reason.into(), bytes.into()],
        )?;
        Ok(())
    }

    pub(super) fn source(&mut self, key: &str) -> Result<i64, Error> {
        if let Some(id) = self.memory.sources.get(key) {
            return Ok(*id);
        }
        self.sql.execute("INSERT INTO source (key) VALUES (?1) ON CONFLICT DO NOTHING", &[key.into()])?;
        let id = self.sql.one("SELECT id FROM source WHERE key = ?1", &[key.into()], |row| row.get(0))?;
        self.memory.sources.insert(key.to_owned(), id);
        Ok(id)
    }

    /// The stored mention that a source calls `id`, be it the global id or the local reference.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find_mention(&mut self, source: &str, id: &str) -> Result<Option<Stored>, Error> {
        let source = self.source(source)?;
        if let Some(found) = self.stored_native(source, id)? {
            return Ok(Some(found));
        }
        match self.known.as_ref().and_then(|known| known.local(source, id)) {
            Some(known) => Ok(known),
            None => self.sql.optional(
                &format!("SELECT {STORED_COLUMNS} FROM mention WHERE source_id = ?1 AND local_ref = ?2"),
                &[source.into(), id.into()],
                stored_of,
            ),
        }
    }

    /// Like [`Tx::find_mention`], by the global id alone: the quick question that every new mention asks.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find_native(&mut self, source: &str, native_id: &str) -> Result<Option<Stored>, Error> {
        let source = self.source(source)?;
        self.stored_native(source, native_id)
    }

    fn stored_native(&self, source: i64, native_id: &str) -> Result<Option<Stored>, Error> {
        match self.known.as_ref().and_then(|known| known.native(source, native_id)) {
            Some(known) => Ok(known),
            None => self.sql.optional(
                &format!("SELECT {STORED_COLUMNS} FROM mention WHERE source_id = ?1 AND native_id = ?2"),
                &[source.into(), native_id.into()],
                stored_of,
            ),
        }
    }

    /// Was this mention deleted before it ever came?
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn tombstoned(&self, source: &str, native_id: &str) -> Result<bool, Error> {
        if !self.memory.tombstones {
            return Ok(false);
        }
        let hash = key_hash(source, native_id);
        match self.known.as_ref().and_then(|known| known.tombstone(hash)) {
            Some(known) => Ok(known),
            None => self.sql.one("SELECT EXISTS (SELECT 1 FROM tombstone WHERE hash = ?1)", &[hash.into()], |row| row.get(0)),
        }
    }

    /// Remembers a delete that matched nothing; it wins over every later create.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn set_tombstone(&mut self, source: &str, native_id: &str) -> Result<(), Error> {
        self.memory.tombstones = true;
        let id = self.source(source)?;
        if let Some(known) = &mut self.known {
            known.set_tombstone(key_hash(source, native_id), id, native_id);
        }
        self.sql.execute(
            "INSERT INTO tombstone (hash, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            &[key_hash(source, native_id).into(), self.now.0.into()],
        )?;
        Ok(())
    }

    /// The contact who wrote, and whether they never wrote before; a changed handle goes into the history.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn contact(&mut self, source: &str, author: &Author) -> Result<(ContactId, bool), Error> {
        let source = self.source(source)?;
        let reach = author.reach.map(whole);
        let stored = match self.known.as_mut().and_then(|known| known.contact(source, &author.native_id)) {
            Some(contact) if contact.stranger => {
                contact.stranger = false;
                return Ok((contact.id, true));
            }
            Some(contact) => Some(contact.clone()),
            None => self.stored_contact(source, author)?,
        };
        let Some(stored) = stored else { return self.insert_contact(source, author, reach) };
        if stored.handle != author.handle {
            self.sql.execute(
                "INSERT INTO contact_handle (contact_id, handle, until) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                &[stored.id.0.into(), (&stored.handle).into(), self.now.0.into()],
            )?;
        }
        if stored.handle != author.handle || stored.name != author.name || stored.reach != reach.or(stored.reach) {
            self.sql.execute(
                "UPDATE contact SET handle = ?2, name = ?3, reach = coalesce(?4, reach) WHERE id = ?1",
                &[stored.id.0.into(), (&author.handle).into(), (&author.name).into(), reach.into()],
            )?;
            if let Some(contact) = self.known.as_mut().and_then(|known| known.contact(source, &author.native_id)) {
                let (handle, name) = (author.handle.clone(), author.name.clone());
                *contact = Contact { id: stored.id, handle, name, reach: reach.or(stored.reach), stranger: false };
            }
        }
        Ok((stored.id, false))
    }

    fn stored_contact(&self, source: i64, author: &Author) -> Result<Option<Contact>, Error> {
        self.sql.optional(
            "SELECT id, handle, name, reach FROM contact WHERE source_id = ?1 AND native_id = ?2",
            &[source.into(), (&author.native_id).into()],
            |row| {
                let id = ContactId(row.get(0)?);
                Ok(Contact { id, handle: row.get(1)?, name: row.get(2)?, reach: row.get(3)?, stranger: false })
            },
        )
    }

    fn insert_contact(&mut self, source: i64, author: &Author, reach: Option<i64>) -> Result<(ContactId, bool), Error> {
        let values = [
            source.into(),
            (&author.native_id).into(),
            (&author.handle).into(),
            (&author.name).into(),
            reach.into(),
            self.now.0.into(),
        ];
        let insert =
            "INSERT INTO contact (source_id, native_id, handle, name, reach, first_seen_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        if !self.sql.shared() {
            return Ok((ContactId(self.sql.insert(insert, &values)?), true));
        }
        let insert = format!("{insert} ON CONFLICT (source_id, native_id) DO NOTHING RETURNING id");
        if let Some(id) = self.sql.optional(&insert, &values, |row| row.get(0))? {
            return Ok((ContactId(id), true));
        }
        // Another process stored them a moment ago.
        let stored = self.stored_contact(source, author)?.ok_or(Error::NoRow)?;
        Ok((stored.id, false))
    }

    /// A contact's handle.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn handle_of(&self, contact: ContactId) -> Result<Option<String>, Error> {
        self.sql.optional("SELECT handle FROM contact WHERE id = ?1", &[contact.0.into()], |row| row.get(0))
    }

    /// Writes a mention that is not stored yet; without a `conversation` it begins one.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn insert_mention(
        &mut self,
        envelope: &Envelope,
        contact: ContactId,
        conversation: Option<i64>,
        verdict: &Verdict,
        texts: Texts<'_>,
        rules: u32,
    ) -> Result<MentionId, Error> {
        let source = self.source(&envelope.source)?;
        let engagement = envelope.engagement.unwrap_or_default();
        let posted_at = envelope.posted_at.unwrap_or(envelope.first_seen_at);
        let reach = envelope.author.as_ref().and_then(|author| author.reach);
        let id = self.sql.add(
            &bulk::MENTION,
            &[
                source.into(),
                (&envelope.native_id).into(),
                (&envelope.local_ref).into(),
                envelope.version().into(),
                envelope.side.as_str().into(),
                contact.0.into(),
                conversation.into(),
                (&envelope.parent).into(),
                verdict.lang.as_str().into(),
                verdict.label.as_str().into(),
                verdict.confidence.into(),
                verdict.unsure.into(),
                posted_at.0.into(),
                envelope.time_quality.as_str().into(),
                envelope.first_seen_at.0.into(),
                envelope.edited_at.map(|at| at.0).into(),
                reach.map(whole).into(),
                count(engagement.replies).into(),
                count(engagement.shares).into(),
                count(engagement.likes).into(),
                (&envelope.visibility).into(),
                (&envelope.url).into(),
                (&media(envelope)).into(),
                texts.signature.cast_signed().into(),
                texts.masked.into(),
            ],
        )?;
        let id = MentionId(id);
        if let Some(known) = &mut self.known {
            let stored = Stored {
                id,
                version: envelope.version(),
                side: envelope.side,
                contact,
                conversation: conversation.unwrap_or(id.0),
                label: verdict.label,
                posted_at,
                deleted: false,
            };
            known.add_mention(source, envelope, &stored);
        }
        if let Some(original) = texts.original {
            self.sql.add(&bulk::MENTION_ORIGINAL, &[id.0.into(), original.into()])?;
        }
        self.keep_extra(id, envelope)?;
        self.judge(id, verdict, rules)?;
        Ok(id)
    }

    pub(super) fn judge(&mut self, id: MentionId, verdict: &Verdict, rules: u32) -> Result<(), Error> {
        if !verdict.reasons.is_empty() {
            let reasons = serde_json::to_string(&verdict.reasons).unwrap_or_default();
            self.sql.add(&bulk::JUDGEMENT, &[id.0.into(), rules.into(), verdict.model.into(), (&reasons).into()])?;
        }
        Ok(())
    }

    /// Replaces the text and the facts of a stored mention by a newer version.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn update_mention(
        &mut self,
        id: MentionId,
        envelope: &Envelope,
        verdict: &Verdict,
        texts: Texts<'_>,
        rules: u32,
    ) -> Result<(), Error> {
        self.forget(id);
        let updated = self.on_mention(
            id,
            "UPDATE mention SET version = ?2, lang = ?3, label = ?4, confidence = ?5, unsure = ?6, edited_at = ?7,
                 url = coalesce(?8, url), signature = ?9, text = ?10, local_ref = coalesce(?11, local_ref), media = ?12
                 WHERE id = ?1 AND deleted_at IS NULL AND version <= ?2",
            &[
                id.0.into(),
                envelope.version().into(),
                verdict.lang.as_str().into(),
                verdict.label.as_str().into(),
                verdict.confidence.into(),
                verdict.unsure.into(),
                envelope.edited_at.map(|at| at.0).into(),
                (&envelope.url).into(),
                texts.signature.cast_signed().into(),
                texts.masked.into(),
                (&envelope.local_ref).into(),
                (&media(envelope)).into(),
            ],
        )?;
        if updated == 0 {
            // Another process was first, with a newer text or a delete; what a delete took away stays away.
            let deleted = "SELECT deleted_at IS NOT NULL FROM mention WHERE id = ?1";
            if self.sql.one(deleted, &[id.0.into()], |row| row.get(0))? {
                self.erase_from_bus(&envelope.source, &envelope.native_id)?;
            }
            return Ok(());
        }
        self.on_mention(id, "DELETE FROM mention_original WHERE mention_id = ?1", &[id.0.into()])?;
        self.on_mention(id, "DELETE FROM judgement WHERE mention_id = ?1", &[id.0.into()])?;
        // What was said of the text that stood here is not said of the new one.
        self.on_mention(id, "DELETE FROM feedback WHERE mention_id = ?1", &[id.0.into()])?;
        if let Some(original) = texts.original {
            self.sql.add(&bulk::MENTION_ORIGINAL, &[id.0.into(), original.into()])?;
        }
        // An event that tells of an edit may not have what a whole record has.
        if !envelope.extra.is_empty() {
            self.sql.forget(&bulk::MENTION_EXTRA, id.0);
            self.on_mention(id, "DELETE FROM mention_extra WHERE mention_id = ?1", &[id.0.into()])?;
            self.keep_extra(id, envelope)?;
        }
        self.judge(id, verdict, rules)
    }

    /// What a reply to it will want to know.
    fn keep_extra(&mut self, id: MentionId, envelope: &Envelope) -> Result<(), Error> {
        if !envelope.extra.is_empty() {
            let extra = serde_json::to_string(&envelope.extra).unwrap_or_default();
            self.sql.add(&bulk::MENTION_EXTRA, &[id.0.into(), (&extra).into()])?;
        }
        Ok(())
    }

    /// Notes what the platform counted by now.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn update_metrics(&mut self, id: MentionId, engagement: Engagement, reach: Option<u64>) -> Result<(), Error> {
        self.on_mention(
            id,
            "UPDATE mention SET replies = ?2, shares = ?3, likes = ?4, reach = coalesce(?5, reach) WHERE id = ?1",
            &[
                id.0.into(),
                count(engagement.replies).into(),
                count(engagement.shares).into(),
                count(engagement.likes).into(),
                reach.map(whole).into(),
            ],
        )?;
        Ok(())
    }

    /// Takes the text of a mention out of the store for good and asks for the same in the bus.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn erase_mention(&mut self, id: MentionId) -> Result<(), Error> {
        self.erased = true;
        self.forget(id);
        self.sql.forget(&bulk::MENTION_EXTRA, id.0);
        self.on_mention(
            id,
            "UPDATE mention SET text = '', media = NULL, url = NULL, signature = 0, deleted_at = ?2 WHERE id = ?1",
            &[id.0.into(), self.now.0.into()],
        )?;
        self.on_mention(id, "DELETE FROM mention_original WHERE mention_id = ?1", &[id.0.into()])?;
        self.on_mention(id, "DELETE FROM mention_extra WHERE mention_id = ?1", &[id.0.into()])?;
        self.on_mention(id, "DELETE FROM judgement WHERE mention_id = ?1", &[id.0.into()])?;
        self.on_mention(id, "DELETE FROM feedback WHERE mention_id = ?1", &[id.0.into()])?;
        self.on_mention(
            id,
            "INSERT INTO erasure (source, native_id, at) SELECT s.key, m.native_id, ?2 FROM mention m JOIN source s ON
                 s.id = m.source_id WHERE m.id = ?1",
            &[id.0.into(), self.now.0.into()],
        )?;
        Ok(())
    }

    /// What is known or waits of a mention's text is out of date.
    fn forget(&mut self, id: MentionId) {
        self.sql.forget(&bulk::MENTION_ORIGINAL, id.0);
        self.sql.forget(&bulk::JUDGEMENT, id.0);
        if let Some(known) = &mut self.known {
            known.forget_mention(id);
        }
    }

    /// Changes a mention; only one that this transaction stored itself may still wait to be written.
    fn on_mention(&self, id: MentionId, sql: &str, values: &[Value<'_>]) -> Result<usize, Error> {
        match &self.known {
            Some(known) if !known.is_new(id) => self.sql.execute_beside(sql, values),
            _ => self.sql.execute(sql, values),
        }
    }

    /// Remembers who or what caught a mention.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn add_match(
        &mut self,
        mention: MentionId,
        brand: BrandId,
        account: AccountId,
        addressed: bool,
        query: Option<&str>,
    ) -> Result<(), Error> {
        if let Some(known) = &mut self.known {
            known.add_match(mention, brand);
        }
        let values = [mention.0.into(), brand.0.into(), account.0.into(), addressed.into(), query.unwrap_or("").into()];
        self.sql.add(&bulk::MENTION_MATCH, &values)?;
        Ok(())
    }

    /// Has any brand's account or query caught this mention before?
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn matched_brand(&self, mention: MentionId, brand: BrandId) -> Result<bool, Error> {
        if let Some(known) = self.known.as_ref().and_then(|known| known.matched(mention, brand)) {
            return Ok(known);
        }
        self.sql.one(
            "SELECT EXISTS (SELECT 1 FROM mention_match WHERE mention_id = ?1 AND brand_id = ?2)",
            &[mention.0.into(), brand.0.into()],
            |row| row.get(0),
        )
    }

    /// Asks that the text of a post leave the bus: it came, or came again, after its delete.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn erase_from_bus(&mut self, source: &str, native_id: &str) -> Result<(), Error> {
        self.sql.add(&bulk::ERASURE, &[source.into(), native_id.into(), self.now.0.into()])?;
        Ok(())
    }

    /// Ids of posts whose text must still leave the bus, as many as one reading of the log is worth.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn pending_erasures(&self) -> Result<Vec<Erasure>, Error> {
        self.sql.all("SELECT id, source, native_id FROM erasure ORDER BY id LIMIT 2000", &[], |row| {
            Ok(Erasure { id: row.get(0)?, source: row.get(1)?, native_id: row.get(2)? })
        })
    }

    /// The bus has erased these; also from dead letters, which hold bytes of the bus.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn erasures_done(&mut self, done: &[Erasure]) -> Result<(), Error> {
        for Erasure { id, native_id, .. } in done {
            // As a whole JSON string: the digits of a short id are in many a letter about something else.
            let quoted = serde_json::Value::from(native_id.as_str()).to_string();
            self.sql.execute("DELETE FROM erasure WHERE id = ?1", &[(*id).into()])?;
            self.sql.execute(
                self.sql.pick(
                    "UPDATE dead_letter SET bytes = X'' WHERE instr(bytes, CAST(?1 AS BLOB)) > 0",
                    "UPDATE dead_letter SET bytes = '' WHERE position(convert_to(?1, 'UTF8') IN bytes) > 0",
                ),
                &[quoted.as_str().into()],
            )?;
        }
        self.erased = true;
        Ok(())
    }
}

fn count(number: u64) -> Option<i64> {
    (number > 0).then(|| whole(number))
}

fn media(envelope: &Envelope) -> Option<String> {
    if envelope.media.is_empty() { None } else { serde_json::to_string(&envelope.media).ok() }
}
