//! People: who they are, how they sign in, what language they chose.

use sha2::{Digest, Sha256};

use super::{Desk, Error};
use crate::{
    clock::random_bytes,
    queue::{Credentials, NewAgent, Session, Urgency},
    staff::AgentId,
};

/// A session that has just begun. The token goes into the cookie and nowhere else.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// For the cookie.
    pub token: String,
    /// Who.
    pub agent: AgentId,
}

/// What is stored of a token.
pub fn token_hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

fn new_token() -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.encode(random_bytes::<32>())
}

impl Desk {
    /// Adds a person, or changes the one with this e-mail.
    ///
    /// # Errors
    /// The store's; taken initials among them.
    pub async fn put_agent(&self, agent: NewAgent) -> Result<AgentId, Error> {
        self.transact(Urgency::Person, move |ledger| Ok(ledger.tx.put_agent(&agent)?)).await
    }

    /// A one-time sign-in token for a person, good for a few minutes.
    ///
    /// # Errors
    /// The store's.
    pub async fn sign_in_link(&self, agent: AgentId) -> Result<String, Error> {
        let token = new_token();
        let hash = token_hash(&token);
        self.transact(Urgency::Person, move |ledger| {
            let expires_at = ledger.now().plus(ledger.config.link);
            Ok(ledger.tx.put_link(&hash, agent, expires_at)?)
        })
        .await?;
        Ok(token)
    }

    /// Uses a one-time token up and starts a session; none when it is unknown, used or too old.
    ///
    /// # Errors
    /// The store's.
    pub async fn use_link(&self, link: &str) -> Result<Option<SignIn>, Error> {
        let hash = token_hash(link);
        match self.transact(Urgency::Person, move |ledger| Ok(ledger.tx.use_link(&hash)?)).await? {
            Some(agent) => Ok(Some(self.start_session(agent).await?)),
            None => Ok(None),
        }
    }

    /// Starts a session for a person whose password was checked.
    ///
    /// # Errors
    /// The store's.
    pub async fn start_session(&self, agent: AgentId) -> Result<SignIn, Error> {
        let token = new_token();
        let hash = token_hash(&token);
        self.transact(Urgency::Person, move |ledger| {
            let expires_at = ledger.now().plus(ledger.config.session);
            Ok(ledger.tx.start_session(&hash, agent, expires_at)?)
        })
        .await?;
        Ok(SignIn { token, agent })
    }

    /// Ends the session with this token.
    ///
    /// # Errors
    /// The store's.
    pub async fn end_session(&self, token: &str) -> Result<(), Error> {
        let hash = token_hash(token);
        self.transact(Urgency::Person, move |ledger| Ok(ledger.tx.end_session(&hash)?)).await
    }

    /// The session with this token, if it runs.
    ///
    /// # Errors
    /// The store's.
    pub async fn session(&self, token: &str) -> Result<Option<Session>, Error> {
        let hash = token_hash(token);
        let now = self.clock.now();
        self.store.read(move |reader| Ok(reader.session(&hash, now)?)).await
    }

    /// What checking a password needs; none for an unknown or disabled e-mail.
    ///
    /// # Errors
    /// The store's.
    pub async fn credentials(&self, email: &str) -> Result<Option<Credentials>, Error> {
        let email = email.to_owned();
        self.store.read(move |reader| Ok(reader.credentials(&email)?)).await
    }

    /// Keeps a person's choice of language.
    ///
    /// # Errors
    /// The store's.
    pub async fn set_locale(&self, agent: AgentId, locale: &str) -> Result<(), Error> {
        let locale = locale.to_owned();
        self.transact(Urgency::Person, move |ledger| Ok(ledger.tx.set_locale(agent, &locale)?)).await
    }
}
