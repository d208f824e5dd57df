//! For those who write connector files: a file to start from, a look at the platform itself, mentions as a table.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Account, AccountConfig, ConnectorFile, Error, FileError, Home, Metrics, OwnIds, Poller, Report, Tray, file::is_name,
    format::Ingress,
};
use crate::{clock::Clock, mention::Envelope};

/// The schema of connector files, for editors.
pub const SCHEMA: &str = include_str!("../../connectors/schema.json");

const NEW: &str = include_str!("new.toml");

/// Widest text and handle of a table, in characters.
const TEXT_CHARS: usize = 60;
const HANDLE_CHARS: usize = 20;

/// Writes a file to start from: commented, whole, and passing.
///
/// # Errors
/// For a name that no connector may have, a file that is there already, or a folder that cannot be written.
pub fn new_file(directory: &Path, name: &str) -> Result<PathBuf, Error> {
    let path = directory.join(format!("{name}.toml"));
    let fault = |message: String, remedy: &str| {
        Error::File(FileError { file: path.clone(), line: 1, key: None, message, remedy: remedy.into() })
    };
    if !is_name(name) {
        return Err(fault(format!("`{name}` is no connector's name"), "use lower-case letters, digits and _"));
    }
    let text = NEW.replace("NAME", name);
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).open(&path);
    let mut file = file.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => fault("it is there already".into(), "choose another name, or edit it"),
        _ => fault(format!("cannot be written: {error}"), "name a folder with --directory"),
    })?;
    std::io::Write::write_all(&mut file, text.as_bytes())
        .map_err(|error| fault(format!("cannot be written: {error}"), "look at the disk"))?;
    Ok(path)
}

/// Walks each stream of an account once, at the platform itself, and keeps nothing: what it would bring.
///
/// # Errors
/// When the file or the account is wrong; what a stream ran into is a fault of the report.
pub async fn test_live(path: &Path, config: AccountConfig) -> Result<Report, Error> {
    let file = Arc::new(ConnectorFile::load(path).map_err(Error::File)?);
    let fail = |reason: String| Error::Account { account: config.key.clone(), reason };
    if config.connector != file.connector {
        return Err(fail(format!("it is of connector `{}`; this file is `{}`", config.connector, file.connector)));
    }
    if file.ingress == Ingress::Webhook {
        return Err(fail("its connector is sent to; there is nothing to ask for".into()));
    }
    let metrics = Metrics::new(&prometheus::Registry::new()).map_err(|error| Error::Refused(error.to_string()))?;
    let account = Account::new(file, config, OwnIds::default(), Clock::System, metrics)?;
    let tray = Arc::new(Tray::default());
    let mut report = Report::default();
    for mut poller in Poller::of(&account, &Home::Tray(Arc::clone(&tray)))? {
        // There is nothing known to look at again.
        if poller.revisits() {
            continue;
        }
        if let Err(error) = poller.step().await {
            report.faults.push(format!("stream {}: {error}", poller.stream_name()));
        }
        report.streams.push((poller.stream_name().to_owned(), tray.with(|kept| std::mem::take(&mut kept.mentions))));
    }
    report.faults.extend(account.complaints());
    Ok(report)
}

impl Report {
    /// The mentions as a table: when, by whom, how much of it came out, what.
    pub fn table(&self) -> String {
        let mut rows = vec![["stream", "posted_at", "side", "author", "native_id", "text"].map(str::to_owned)];
        for (stream, mentions) in &self.streams {
            rows.extend(mentions.iter().map(|mention| row(stream, mention)));
        }
        let widths: Vec<usize> =
            (0..rows[0].len()).map(|column| rows.iter().map(|row| width(&row[column])).max().unwrap_or(0)).collect();
        let mut out = String::new();
        for row in &rows {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width_of)| format!("{cell}{}", " ".repeat(width_of - width(cell))))
                .collect();
            out.push_str(cells.join("  ").trim_end());
            out.push('\n');
        }
        for (stream, mentions) in self.streams.iter().filter(|(_, mentions)| mentions.is_empty()) {
            out.push_str(&format!("{stream}: {} mentions\n", mentions.len()));
        }
        for fault in &self.faults {
            out.push_str(&format!("FAULT: {fault}\n"));
        }
        out
    }
}

fn row(stream: &str, mention: &Envelope) -> [String; 6] {
    let cut = |text: &str, most: usize| {
        let line = crate::text::strip_invisible(text).replace(['\n', '\r', '\t'], " ");
        match line.chars().count() > most {
            true => format!("{}…", line.chars().take(most - 1).collect::<String>()),
            false => line,
        }
    };
    let author = mention.author.as_ref().map_or("-".to_owned(), |author| format!("@{}", cut(&author.handle, HANDLE_CHARS)));
    let what = match mention.op {
        crate::mention::Op::Upsert => cut(&mention.text, TEXT_CHARS),
        other => format!("({})", format!("{other:?}").to_lowercase()),
    };
    [
        stream.to_owned(),
        mention.posted_at.map_or("-".to_owned(), |at| at.to_string()),
        mention.side.as_str().to_owned(),
        author,
        cut(&mention.native_id, TEXT_CHARS / 2),
        what,
    ]
}

/// Columns that a terminal needs: Hangul and Han are two wide.
fn width(text: &str) -> usize {
    let wide = |sign: char| matches!(u32::from(sign), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xff00..=0xff60 | 0x1f300..=0x1faff);
    text.chars().map(|sign| 1 + usize::from(wide(sign))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::test_file;

    #[tokio::test]
    async fn a_new_file_passes_and_none_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = new_file(folder.path(), "isso_2").unwrap();
        let report = test_file(&path).await.unwrap();
        assert!(report.faults.is_empty(), "{report}");
        assert!(report.table().contains("@minji"), "{}", report.table());
        assert!(new_file(folder.path(), "isso_2").unwrap_err().to_string().contains("there already"));
        assert!(new_file(folder.path(), "Isso").unwrap_err().to_string().contains("lower-case letters"));
        assert!(new_file(&folder.path().join("none"), "isso").unwrap_err().to_string().contains("--directory"));
    }

    #[test]
    fn a_table_lines_up_whatever_the_script() {
        let say =
            |text: &str, native_id: &str| Envelope { text: text.into(), native_id: native_id.into(), ..Envelope::default() };
        let report = Report {
            streams: vec![("a".into(), vec![say("둘째\n줄", "가나"), say(&"x".repeat(99), "1")]), ("none".into(), vec![])],
            faults: vec!["stream none: answered 403".into()],
        };
        let table = report.table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "stream  posted_at  side      author  native_id  text");
        assert_eq!(lines[1], "a       -          customer  -       가나       둘째 줄");
        assert!(lines[2].starts_with("a       -          customer  -       1          xxxx") && lines[2].ends_with('…'));
        assert_eq!(lines[3..], ["none: 0 mentions", "FAULT: stream none: answered 403"]);
    }
}
