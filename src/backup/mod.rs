//! A desk's copy, and a desk made of a copy: `moksori backup`, `restore`, `export` and `import`.
//!
//! Stands above the stages like app and cli. A backup holds SQLite's file and the files of the embedded log,
//! each of one moment, and a manifest ([`Manifest`]) that is written last. Restoring is taking the files back
//! and holding the outbox back ([`crate::queue::Tx::park_outbox`]): nobody knows what was sent since.
//! An export holds the rows of every table and the log's unread tail as text, for whatever engine comes next.

mod export;
mod files;
mod import;
mod live;
mod manifest;
mod restore;
mod take;

pub use self::{
    export::{Export, Lines, export},
    import::{Imported, import, unfinished_import},
    live::Live,
    manifest::{Kept, MANIFEST, Manifest},
    restore::{Restored, park, restore, unfinished},
    take::{Order, ask, embedded, size, take},
};
