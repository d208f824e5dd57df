//! No method of a transaction or a reader goes without a test here.

use regex::Regex;

use crate::tidy::{production, sources, without_comments};

#[test]
fn every_method_of_the_store_is_called_by_its_contract() {
    let block = Regex::new(r"(?ms)^impl (?:super::)?(?:Tx|Reader)<'_> \{\n(.*?)^\}").unwrap();
    let method = Regex::new(r"(?m)^    pub fn (\w+)").unwrap();
    let tests: String = sources("tests/it/store").into_iter().map(|(_, text)| without_comments(&text)).collect();
    let mut methods = Vec::new();
    for (_, text) in sources("src/queue") {
        let code = production(&text);
        for block in block.captures_iter(&code) {
            methods.extend(method.captures_iter(&block[1]).map(|found| found[1].to_owned()));
        }
    }
    assert!(methods.len() > 80, "the pattern finds only {methods:?}");
    methods.retain(|name| !tests.contains(&format!(".{name}(")));
    assert!(methods.is_empty(), "no test in tests/it/store calls {methods:?}");
}
