//! A model's file: a head that names it, its card as JSON, then one byte for each weight.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Card, Index, LABELS, Model, features};

/// What every model file begins with.
const MAGIC: &[u8; 8] = b"MOKSORI\x1a";
/// Version of the file format.
const FORMAT: u32 = 1;
/// Magic, format, version of the features, length of the card, digest of all that follows.
const HEAD: usize = 8 + 4 + 4 + 4 + 32;
/// A larger file is none of ours.
const MAX_BYTES: usize = 64 << 20;

/// Why a model is refused; the one in force stays.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("could not read the model {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no model, or not a whole one.
    #[error("{name} is not a model that this program can use: {problem}; train it again with moksori train")]
    Unusable {
        /// Name of the file.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// There is too little to train on.
    #[error("cannot train: {0}")]
    Examples(String),
}

impl Error {
    /// Never: a person has to bring another file.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

pub(super) enum Bytes {
    Static(&'static [u8]),
    Owned(Vec<u8>),
    Mapped(memmap2::Mmap),
}

impl Bytes {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Bytes::Static(bytes) => bytes,
            Bytes::Owned(bytes) => bytes,
            Bytes::Mapped(bytes) => bytes,
        }
    }
}

impl Model {
    /// Maps a model from its file, which must not be changed in place while it is in use: put a new file there instead.
    ///
    /// # Errors
    /// [`Error::Read`], and [`Error::Unusable`] for a damaged or foreign file.
    pub fn open(path: &Path) -> Result<Model, Error> {
        let read = |source| Error::Read { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(read)?;
        #[expect(
            unsafe_code,
            reason = "mapping a file is unsafe because another program could shorten it; models are replaced, never rewritten"
        )]
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(read)?;
        Model::parse(&path.display().to_string(), Bytes::Mapped(map))
    }

    /// A model that is part of the program.
    ///
    /// # Errors
    /// [`Error::Unusable`].
    pub fn from_static(bytes: &'static [u8]) -> Result<Model, Error> {
        Model::parse("the model in the program", Bytes::Static(bytes))
    }

    /// A model out of memory or a store.
    ///
    /// # Errors
    /// [`Error::Unusable`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Model, Error> {
        Model::parse("the model", Bytes::Owned(bytes))
    }

    /// Puts a model together of its card and, for each of its tables, the weights as bytes.
    pub(super) fn assemble(card: &Card, weights: &[Vec<u8>]) -> Result<Model, Error> {
        let mut body = serde_json::to_vec(card).map_err(|error| Error::Examples(error.to_string()))?;
        let length = body.len() as u32;
        weights.iter().for_each(|table| body.extend_from_slice(table));
        let mut bytes = Vec::with_capacity(HEAD + body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&features::VERSION.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&Sha256::digest(&body));
        bytes.extend_from_slice(&body);
        Model::from_bytes(bytes)
    }

    fn parse(name: &str, held: Bytes) -> Result<Model, Error> {
        let refuse = |problem: String| Error::Unusable { name: name.to_owned(), problem };
        let bytes = held.as_slice();
        if bytes.len() < HEAD || &bytes[..8] != MAGIC || bytes.len() > MAX_BYTES {
            return Err(refuse(format!("its {} bytes do not begin as a model does", bytes.len())));
        }
        let number = |at: usize| bytes[at..at + 4].iter().rev().fold(0, |number: u32, byte| number << 8 | u32::from(*byte));
        for (at, known, what) in [(8, FORMAT, "format"), (12, features::VERSION, "features")] {
            if number(at) != known {
                return Err(refuse(format!("its {what} have version {}, this program reads version {known}", number(at))));
            }
        }
        if *Sha256::digest(&bytes[HEAD..]) != bytes[20..HEAD] {
            return Err(refuse("it is damaged, its digest differs".to_owned()));
        }
        let tables_at = HEAD + number(16) as usize;
        let card = bytes.get(HEAD..tables_at).ok_or_else(|| refuse("its card is cut off".to_owned()))?;
        let card: Card = serde_json::from_slice(card).map_err(|error| refuse(format!("its card: {error}")))?;
        let mut at = tables_at;
        let mut starts = Vec::new();
        for table in &card.tables {
            let figures = [table.scale, table.temperature];
            if !(8..=24).contains(&table.bits) || figures.iter().any(|figure| !figure.is_finite() || *figure <= 0.0) {
                return Err(refuse(format!("its table {} has impossible figures", table.lang.as_str())));
            }
            starts.push(at);
            at += LABELS << table.bits;
        }
        if at != bytes.len() {
            return Err(refuse(format!("it has {} bytes, its card says {at}", bytes.len())));
        }
        let tables = card.tables.iter().zip(starts).map(|(table, start)| Index::new(bytes, start, table)).collect();
        Ok(Model { bytes: held, card, tables })
    }
}

/// The weight that a byte stands for: small weights are told apart more finely than large ones.
pub(super) fn weight(byte: u8, scale: f32) -> f32 {
    let part = f32::from(byte as i8) / 127.0;
    part * part.abs() * scale
}

/// The byte of a weight.
pub(super) fn byte(weight: f32, scale: f32) -> u8 {
    let part = (weight.abs() / scale).min(1.0).sqrt() * 127.0;
    (part.round().copysign(weight) as i8) as u8
}
