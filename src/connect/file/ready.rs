//! Keys of the format whose part of the engine is not in yet: `moksori check` refuses them.

use super::{ConnectorFile, FileError, FilePath, line_of};
use crate::connect::format::{BodyAs, CursorAs, LiveKind};

impl ConnectorFile {
    /// The first key that is read and not acted on; the file that stands in `path` must not be run.
    pub fn unready(&self, path: &FilePath) -> Option<FileError> {
        let stream = |has: &dyn Fn(&super::Stream) -> bool| self.streams.iter().position(has);
        let action = |has: &dyn Fn(&super::Action) -> bool| self.actions.iter().position(has);
        let once = |has: bool| has.then_some(0);
        let later = [
            ("[request]", "body_as", once(self.request.body_as != BodyAs::Json)),
            ("[request]", "conditional", once(self.request.conditional)),
            ("[auth.login]", "path", once(self.auth.login.is_some())),
            ("[auth.refresh]", "path", once(self.auth.refresh.is_some())),
            ("[auth.jwt]", "algorithm", once(self.auth.jwt.is_some())),
            ("[[limits.budget]]", "name", once(!self.limits.budgets.is_empty())),
            ("[limits]", "backoff", once(self.limits.backoff.is_some())),
            ("[limits]", "each", once(self.limits.each)),
            ("[[join]]", "as", once(!self.joins.is_empty())),
            ("[[stream]]", "body_as", stream(&|one| one.body_as.is_some_and(|body| body != BodyAs::Json))),
            ("[[stream]]", "join", stream(&|one| !one.joins.is_empty())),
            ("[[stream]]", "since", stream(&|one| one.since.is_some() || one.cursor_as != CursorAs::Text)),
            ("[[stream]]", "cursor_lost", stream(&|one| one.cursor_lost.is_some())),
            ("[[stream]]", "per_query", stream(&|one| one.per_query)),
            ("[[stream]]", "live", stream(&|one| one.live.as_ref().is_some_and(|live| live.kind == LiveKind::Sse))),
            ("[[stream]]", "live", stream(&|one| one.live.as_ref().is_some_and(|live| live.kind == LiveKind::Ndjson))),
            ("[[stream]]", "live", stream(&|one| one.live.as_ref().is_some_and(|live| live.kind == LiveKind::Websocket))),
            ("[[stream]]", "follow", stream(&|one| one.follow.is_some())),
            ("[[action]]", "facets", action(&|one| one.facets.is_some())),
            ("[[action]]", "target", action(&|one| one.target.is_some())),
            ("[[action]]", "thread", action(&|one| one.thread.is_some())),
            ("[[action]]", "allowed", action(&|one| one.allowed.is_some())),
        ];
        let (header, key, index) = later.into_iter().find_map(|(header, key, index)| Some((header, key, index?)))?;
        let text = std::fs::read_to_string(path).unwrap_or_default();
        Some(FileError {
            file: path.to_owned(),
            line: line_of(&text, header, index, key),
            key: Some(key.to_owned()),
            message: "this version of the program reads the key and does not act on it yet".into(),
            remedy: "move the file out of the folder of connectors until a later version does".into(),
        })
    }
}
