//! Reads a file of JSON Lines as it grows: each line is a record, mapped like a platform's.
//!
//! The cursor is `OFFSET:LINE`, the place behind the last line that is durable in the bus. A last line
//! without its line end waits for it; a line that is no JSON is counted, reported and passed.

use std::io::SeekFrom;

use serde_json::Value as Json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, BufReader};

use super::{Error, Poller, Walk};

/// Bytes that are appended at a time.
const BLOCK: usize = 1 << 20;

/// Longest line; a longer one is broken.
const LONGEST: u64 = 1 << 20;

/// Reads all that is new.
///
/// # Errors
/// When the file cannot be read, or the bus does not take what was.
pub(super) async fn read(poller: &Poller) -> Result<Walk, Error> {
    let Some(path) = &poller.account.config.path else { return Ok(Walk::default()) };
    let broken = |error: std::io::Error| Error::Unreached(format!("{}: {error}", path.display()));
    let file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        // Nobody has written to it yet.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Walk::default()),
        Err(error) => return Err(broken(error)),
    };
    let saved = poller.home.cursor(&poller.cursor_name()).await?;
    let (mut offset, mut line) = saved.as_deref().and_then(parse).unwrap_or_default();
    if file.metadata().await.map_err(broken)?.len() < offset {
        tracing::warn!(account = %poller.account.config.key, "the file is shorter than it was; reading it from its start");
        (offset, line) = (0, 0);
    }
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(offset)).await.map_err(broken)?;

    let mut walk = Walk::default();
    let mut ended = false;
    while !ended {
        let (mut mentions, mut taken) = (Vec::new(), 0);
        while taken < BLOCK {
            let mut bytes = Vec::new();
            (&mut reader).take(LONGEST).read_until(b'\n', &mut bytes).await.map_err(broken)?;
            let mut length = bytes.len();
            let whole = bytes.ends_with(b"\n");
            if !whole {
                // The end of the file, or a line that is longer than any post.
                match skip_line(&mut reader, length).await.map_err(broken)? {
                    Some(skipped) => length += skipped,
                    // The reader stands behind the half of a line now: only the next walk may read its rest.
                    None => {
                        ended = true;
                        break;
                    }
                }
            }
            taken += length;
            line += 1;
            let text = bytes.trim_ascii();
            if text.is_empty() {
                continue;
            }
            match serde_json::from_slice::<Json>(text) {
                Ok(record) if whole && record.is_object() => mentions.extend(poller.mention(&record)),
                _ => {
                    poller.discard("broken_line", 1);
                    tracing::warn!(account = %poller.account.config.key, "{}:{line}: not a JSON object; passed over", path.display());
                }
            }
        }
        if taken == 0 {
            break;
        }
        walk.items += poller.keep(mentions).await?;
        walk.pages += 1;
        offset += taken as u64;
        poller.home.save_cursor(&poller.cursor_name(), &format!("{offset}:{line}")).await?;
    }
    Ok(walk)
}

/// Passes the rest of a line that is too long; none if it has not ended yet, or is just a short one.
async fn skip_line(reader: &mut BufReader<tokio::fs::File>, length: usize) -> std::io::Result<Option<usize>> {
    if (length as u64) < LONGEST {
        return Ok(None);
    }
    let mut skipped = 0;
    loop {
        let buffer = reader.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(None);
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(buffer.len(), |at| at + 1);
        reader.consume(count);
        skipped += count;
        if end.is_some() {
            return Ok(Some(skipped));
        }
    }
}

fn parse(cursor: &str) -> Option<(u64, u64)> {
    let (offset, line) = cursor.split_once(':')?;
    Some((offset.parse().ok()?, line.parse().ok()?))
}
