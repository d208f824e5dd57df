//! Keys of the format whose part of the engine is not in yet: `moksori check` refuses them.

use super::{ConnectorFile, FileError, FilePath, line_of};

impl ConnectorFile {
    /// The first key that is read and not acted on; the file that stands in `path` must not be run.
    pub fn unready(&self, path: &FilePath) -> Option<FileError> {
        self.webhook.as_ref()?;
        let text = std::fs::read_to_string(path).unwrap_or_default();
        Some(FileError {
            file: path.to_owned(),
            line: line_of(&text, "[webhook]", 0, "records"),
            key: Some("webhook".to_owned()),
            message: "this version of the program reads the table and does not act on it yet".into(),
            remedy: "move the file out of the folder of connectors until a later version does".into(),
        })
    }
}
